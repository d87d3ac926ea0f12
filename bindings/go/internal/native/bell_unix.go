//go:build unix

package native

import (
	"os"
	"syscall"
	"time"
)

// bell is what a queue rings while there is something to take: who waits for it needs no thread, and wakes where Go runs already.
type bell struct {
	file *os.File
	conn syscall.RawConn
}

// watch gives the bell of a descriptor of the library's; nil: Go cannot watch it.
func watch(descriptor int) *bell {
	if descriptor < 0 {
		return nil
	}
	// The library's own is closed with its queue, while Go still watches.
	syscall.ForkLock.RLock()
	own, err := syscall.Dup(descriptor)
	if err == nil {
		syscall.CloseOnExec(own)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil
	}
	file := os.NewFile(uintptr(own), "meshwire")
	// Who cannot be watched has no deadlines.
	if conn, err := file.SyscallConn(); err == nil && file.SetReadDeadline(time.Time{}) == nil {
		return &bell{file, conn}
	}
	file.Close()
	return nil
}

// wait waits until there is what it looks for; false: the bell was closed.
func (b *bell) wait(look func() bool) bool {
	return b.conn.Read(func(uintptr) bool { return look() }) == nil
}

func (b *bell) close() {
	if b != nil {
		b.file.Close()
	}
}
