//go:build linux && amd64 && cgo && !meshwire_dynamic

package native

import _ "github.com/meshwire/meshwire-go/native/linux_amd64" // the library

// IsStatic says that the library is a part of the program.
const IsStatic = true
