package meshwire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshwire/meshwire-go/internal/native"
)

// Handler handles an event. nil acks it. An error nacks it, and says why where it is looked at later; Again and Never make errors that say
// when it comes again, or that it is a dead letter. The context ends when the lease was lost, or the client is closed: what the handler
// says then is not heard. A panic is a failure, and is logged; so is runtime.Goexit, which a test's FailNow and Fatal call.
type Handler func(ctx context.Context, d *Delivery) error

type verdict struct {
	how   int
	delay time.Duration
	cause error
}

func (v *verdict) Error() string { return v.cause.Error() }
func (v *verdict) Unwrap() error { return v.cause }

// Again is an error of a Handler: the event comes again after a delay.
func Again(delay time.Duration, cause error) error {
	if cause == nil {
		cause = errors.New("again later")
	}
	return &verdict{native.HandleAgain, delay, cause}
}

// Never is an error of a Handler: the event becomes a dead letter, with the cause as its reason.
func Never(cause error) error {
	if cause == nil {
		cause = errors.New("never")
	}
	return &verdict{native.HandleNever, -1, cause}
}

// errLost is why a handler's context ends.
var errLost = errors.New("the lease or the requester is lost: what the handler says is not heard")

// loop runs the handlers of one consume or serve.
type loop struct {
	core     *core
	loop     *native.Loop
	handlers sync.WaitGroup
	mu       sync.Mutex
	running  map[uint64]context.CancelCauseFunc
	// idle is where goroutines whose handler has ended get the next one.
	idle    chan func()
	workers sync.WaitGroup
}

// most pieces of work are taken at once: as many as handlers run, as a rule.
const mostWorks = 64

// run asks for work and has it begun until the loop is over. When the context ends no more is taken, and those that run may end.
func (l *loop) run(ctx context.Context, begin func(ctx context.Context, work native.Work)) error {
	l.running, l.idle = make(map[uint64]context.CancelCauseFunc), make(chan func())
	defer l.loop.Free()
	defer func() {
		close(l.idle)
		l.workers.Wait()
	}()
	// Whoever handles goes on when the context ends: it is to end in good order.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, l.loop.Stop)()
	go func() {
		select {
		case <-l.core.done:
			stop()
		case <-work.Done():
		}
	}()
	for {
		completion, err := l.core.wait(context.WithoutCancel(ctx), l.loop.Next(mostWorks))
		if err != nil || completion.Kind == native.Over {
			if err != nil {
				stop()
			}
			l.handlers.Wait()
			return err
		}
		for _, piece := range native.TakeWorks(completion.Value, completion.Count) {
			if piece.Lost != 0 {
				l.lost(piece.Lost)
				continue
			}
			begin(work, piece)
		}
	}
}

func (l *loop) lost(number uint64) {
	l.mu.Lock()
	cancel := l.running[number]
	l.mu.Unlock()
	if cancel != nil {
		cancel(errLost)
	}
}

// errGone is what a handler that ended its goroutine came to.
var errGone = errors.New("the handler ended its goroutine")

// handle runs one handler on a goroutine that runs no other meanwhile. end is told what it came to, in any case.
func (l *loop) handle(ctx context.Context, number uint64, handler func(ctx context.Context) error, end func(error)) {
	ctx, cancel := context.WithCancelCause(ctx)
	l.mu.Lock()
	l.running[number] = cancel
	l.mu.Unlock()
	l.handlers.Add(1)
	work := func() {
		defer l.handlers.Done()
		defer func() {
			l.mu.Lock()
			delete(l.running, number)
			l.mu.Unlock()
			cancel(nil)
		}()
		// runtime.Goexit goes no further than the next line, and runs what is deferred.
		came := errGone
		defer func() {
			if came == errGone {
				l.core.logs().Error(came.Error(), "stack", string(debug.Stack()))
			}
			end(came)
		}()
		came = safely(l.core, "handler", func() error { return handler(ctx) })
	}
	select {
	case l.idle <- work:
	default:
		l.workers.Add(1)
		go l.work(work)
	}
}

// work runs handlers one after the other: a goroutine asks for its number once, which costs more than to begin it.
func (l *loop) work(work func()) {
	defer l.workers.Done()
	here := goroutine()
	l.core.handling.Store(here, nil)
	defer l.core.handling.Delete(here)
	for ok := true; ok; work, ok = <-l.idle {
		work()
	}
}

// goroutine is the number of the one that asks, which Go tells in the first line of its stack alone: "goroutine 7 [running]:".
func goroutine() (number uint64) {
	var text [64]byte
	said := text[:runtime.Stack(text[:], false)]
	for _, digit := range said[min(len("goroutine "), len(said)):] {
		if digit < '0' || digit > '9' {
			break
		}
		number = number*10 + uint64(digit-'0')
	}
	return number
}

// mayWait says whether this goroutine may wait until all handlers have ended.
func (c *core) mayWait(operation string) error {
	if _, handles := c.handling.Load(goroutine()); !handles {
		return nil
	}
	return invalid(operation, "a handler that runs on this goroutine would wait for itself: end the context of its Consume or Serve in it, and "+
		"call this behind that", nil)
}

// safely has a panic of a handler, or a hook, be its failure.
func safely(c *core, what string, handler func() error) (err error) {
	defer func() {
		if said := recover(); said != nil {
			err = fmt.Errorf("the %s panicked: %v", what, said)
			c.logs().Error("a "+what+" panicked", "panic", said, "stack", string(debug.Stack()))
		}
	}()
	return handler()
}

// logs is where the client's own words go.
func (c *core) logs() *slog.Logger {
	if c.logger != nil {
		return c.logger.logger
	}
	return slog.Default()
}

// job is a delivery in the hands of a handler.
type job struct {
	core   *core
	handle native.Handle
	ended  atomic.Bool
}

func (j *job) end(d *Delivery, operation string, how int, delay time.Duration, why string) error {
	if !j.ended.CompareAndSwap(false, true) {
		return again(operation)
	}
	j.core.settled(d, operation)
	return j.core.failed(native.EndJob(j.handle, how, wait(delay), why))
}

func (j *job) settle(d *Delivery, operation string, kind int, delay time.Duration, reason string) error {
	how := map[int]int{native.Ack: native.Handled, native.Nack: native.HandledBad, native.Reject: native.HandleNever}[kind]
	if kind == native.Nack && delay >= 0 {
		how = native.HandleAgain
	}
	return j.end(d, operation, how, delay, reason)
}

// Consume handles a topic's events with a function, on goroutines of its own, until the context ends: then it takes no more, waits for
// the handlers that run, and gives nil. Each key is handled by one handler at a time, whatever the Concurrency.
func (c *Client) Consume(ctx context.Context, topic string, handler Handler, options ...ConsumeOption) error {
	defer runtime.KeepAlive(c)
	if err := c.check(ctx, "consume"); err != nil {
		return err
	}
	if handler == nil {
		return invalid("consume", "the handler is nil", nil)
	}
	var said said
	for _, option := range options {
		if option != nil {
			option.consume(&said)
		}
	}
	if said.err != nil {
		return said.err
	}
	made, failure := native.Consume(c.mesh, topic, said.text())
	if failure != nil {
		return c.failed(failure)
	}
	l := &loop{core: c.core, loop: made}
	return l.run(ctx, func(ctx context.Context, work native.Work) { l.consume(ctx, topic, work.Job, handler) })
}

func (l *loop) consume(ctx context.Context, topic string, handle native.Handle, handler Handler) {
	d := &Delivery{from: &origin{core: l.core, job: &job{core: l.core, handle: handle}}}
	var come come
	err := unpack(native.Works, []native.Handle{handle}, topic, 0, func(read *messages) { come = d.take(read) })
	if err != nil {
		native.EndJob(handle, native.HandledBad, -1, err.Error())
		return
	}
	l.handle(ctx, come.number, func(ctx context.Context) error {
		l.core.delivered(d)
		return handler(ctx, d)
	}, func(err error) { d.from.job.finish(d, err) })
}

// finish says what the handler's return says, unless it settled the delivery itself.
func (j *job) finish(d *Delivery, err error) {
	if j.ended.Load() {
		return
	}
	var said *verdict
	switch {
	case err == nil:
		err = j.end(d, "ack", native.Handled, -1, "")
	case errors.As(err, &said) && said.how == native.HandleNever:
		err = j.end(d, "reject", native.HandleNever, -1, said.Error())
	case said != nil:
		err = j.end(d, "nack_after", native.HandleAgain, max(said.delay, 0), said.Error())
	default:
		err = j.end(d, "nack", native.HandledBad, -1, err.Error())
	}
	// Not heard when the lease was lost or the client is gone: then it comes again.
	_ = err
}
