//go:build cgo && meshwire_dynamic

package native

// #cgo pkg-config: meshwire
import "C"

// IsStatic says that the library is a part of the program.
const IsStatic = false
