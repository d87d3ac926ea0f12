//go:build !unix

package native

// bell is for systems whose event loops watch descriptors.
type bell struct{}

func watch(int) *bell { return nil }

func (*bell) wait(func() bool) bool { return false }

func (*bell) close() {}
