package main

import (
	"os"

	"github.com/pavise/pavise/bench/result"
)

func main() {
	b, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	if err := result.Write(result.File, os.Args[1], string(b)); err != nil {
		panic(err)
	}
}
