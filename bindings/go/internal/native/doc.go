// Package native is the border to the client's C library: its functions with the types of Go, and nothing else.
//
// What the library holds is a number here, never a pointer: Go's garbage collector would take it for one of its own. Events cross as one
// run of bytes, many in a call. No function of Go is ever called from C.
package native
