// Package linux_amd64 has Meshwire's client as an archive for Linux with glibc on x86-64. Nothing of it is used directly.
package linux_amd64

// #cgo LDFLAGS: ${SRCDIR}/libmeshwire.a -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc
import "C"
