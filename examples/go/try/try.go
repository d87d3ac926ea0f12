// Package try is what the examples do with errors: they end. A program does better.
package try

import (
	"log"
	"os"
	"strings"
)

// To gives a value, or ends the program with the error.
func To[T any](value T, err error) T {
	Do(err)
	return value
}

// Do ends the program with the error, if there is one.
func Do(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// URL is the program's argument; without one MESHWIRE_URL is taken, else mesh://127.0.0.1:7400.
func URL() string { return strings.Join(os.Args[1:], "") }
