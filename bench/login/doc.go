// Package login logs in at providers that are none of our code and live in this process.
// It holds tests alone: the product must not depend on what it is held against.
package login
