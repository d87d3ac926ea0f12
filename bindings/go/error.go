package meshwire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/meshwire/meshwire-go/internal/native"
)

// Retry says whether the call that failed may be made again.
type Retry string

// Whether the call that failed may be made again.
const (
	RetryNever          Retry = "never"           // it fails again
	RetryNow            Retry = "now"             // at once
	RetryAfter          Retry = "after"           // after RetryAfter, or a while
	RetryUnknownOutcome Retry = "unknown_outcome" // it may have succeeded: repeat only what may happen twice
)

// Error is why a call failed. Match it by kind with errors.Is and the Err values, such as ErrNoResponders, or read it with errors.As.
type Error struct {
	// Code is its name, such as "NO_RESPONDERS"; the Code constants have all of them.
	Code Code
	// Number is the same as a number, which is never used for something else.
	Number int
	// Retry says whether the call may be made again.
	Retry Retry
	// Retryable: it may be made again without the risk that it happens twice.
	Retryable bool
	// RetryAfter is after how long, where the gateway said so.
	RetryAfter time.Duration
	// Operation is the call that failed, such as "publish".
	Operation string
	// Context is what is known about it, such as its topic.
	Context map[string]string
	// Message says what went wrong, where, and what to do.
	Message string

	cause error
}

// Error says what went wrong in a line.
func (e *Error) Error() string {
	switch {
	case e.Message == "":
		return string(e.Code)
	case e.cause != nil:
		return fmt.Sprintf("%s: %s: %s: %v", e.Operation, e.Code, e.Message, e.cause)
	default:
		return fmt.Sprintf("%s: %s: %s", e.Operation, e.Code, e.Message)
	}
}

// Unwrap gives what the host said: the context's error, or that of a hook.
func (e *Error) Unwrap() error { return e.cause }

// Is says whether the error is of the kind of an Err value, or of the host's own kind where one fits: os.ErrDeadlineExceeded of TIMEOUT,
// fs.ErrClosed, fs.ErrPermission, fs.ErrNotExist, fs.ErrExist and errors.ErrUnsupported.
func (e *Error) Is(target error) bool {
	if kind, ok := target.(*Error); ok {
		return kind.Message == "" && kind.Number == e.Number
	}
	switch e.Code {
	case CodeTimeout:
		return target == os.ErrDeadlineExceeded
	case CodeClosed:
		return target == fs.ErrClosed
	case CodeDenied:
		return target == fs.ErrPermission
	case CodeNotFound, CodeTopicNotFound:
		return target == fs.ErrNotExist
	case CodeAlreadyExists:
		return target == fs.ErrExist
	case CodeUnsupported:
		return target == errors.ErrUnsupported
	default:
		return false
	}
}

// Timeout is as in net.Error.
func (e *Error) Timeout() bool {
	return e.Code == CodeTimeout || errors.Is(e.cause, context.DeadlineExceeded)
}

// LogValue shows the error in structured logs.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("code", string(e.Code)), slog.String("operation", e.Operation), slog.String("message", e.Message),
		slog.String("retry", string(e.Retry)),
	}
	if e.RetryAfter > 0 {
		attrs = append(attrs, slog.Duration("retry_after", e.RetryAfter))
	}
	for name, value := range e.Context {
		attrs = append(attrs, slog.String(name, value))
	}
	if e.cause != nil {
		attrs = append(attrs, slog.String("cause", e.cause.Error()))
	}
	return slog.GroupValue(attrs...)
}

var retries = [...]Retry{RetryNever, RetryNow, RetryAfter, RetryUnknownOutcome}

// failed makes an error of what the library says.
func failed(failure *native.Failure) error {
	if failure == nil {
		return nil
	}
	e := &Error{
		Code: Code(failure.Name), Number: failure.Code, Operation: failure.Operation, Message: failure.Text, Retry: RetryNever,
	}
	if failure.Retry >= 0 && failure.Retry < len(retries) {
		e.Retry = retries[failure.Retry]
	}
	e.Retryable = e.Retry == RetryNow || e.Retry == RetryAfter
	if failure.RetryAfterMs > 0 {
		e.RetryAfter = time.Duration(failure.RetryAfterMs) * time.Millisecond
	}
	for _, known := range failure.Context {
		if e.Context == nil {
			e.Context = make(map[string]string)
		}
		e.Context[known[0]] = known[1]
	}
	return e
}

// invalid is for what cannot be said to the library at all.
func invalid(operation, message string, cause error) *Error {
	return &Error{
		Code: CodeInvalid, Number: numberOf(ErrInvalid), Retry: RetryNever, Operation: operation, Message: message, cause: cause,
	}
}

const closedText = "the client was closed; connect a new one"

func closed(operation string) error {
	return &Error{Code: CodeClosed, Number: numberOf(ErrClosed), Retry: RetryNever, Operation: operation, Message: closedText}
}

// withCause has the error say why the host ended the call.
func withCause(err error, ctx context.Context) error {
	e, ok := err.(*Error)
	if !ok || e.Code != CodeCancelled {
		return err
	}
	e.cause = ctx.Err()
	if why := context.Cause(ctx); why != nil && why != e.cause {
		e.cause = errors.Join(e.cause, why)
	}
	return e
}

// numberOf gives the number of an Err value.
func numberOf(kind error) int {
	e, _ := kind.(*Error)
	return e.Number
}
