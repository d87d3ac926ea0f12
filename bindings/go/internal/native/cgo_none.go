//go:build !cgo

package native

// The name of what is not defined here is the message.
var _ = meshwire_needs_cgo__install_a_C_compiler_and_build_with_CGO_ENABLED_1
