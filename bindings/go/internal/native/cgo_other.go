//go:build cgo && !meshwire_dynamic && !(linux && amd64)

package native

// The name of what is not defined here is the message.
var _ = meshwire_has_no_archive_for_this_platform__install_the_C_package_and_build_with_tags_meshwire_dynamic
