//go:build race

package main

// instrumented is how many times the memory the race detector has a process take.
const instrumented = 3
