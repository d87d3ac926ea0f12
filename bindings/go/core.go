package meshwire

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/meshwire/meshwire-go/internal/native"
)

// callsAtOnce is the most a queue can be made for: what bounds them is the windows of the client.
const callsAtOnce = 1 << 20

// waiter gets the one completion of a call; it must not block.
type waiter interface{ complete(*native.Completion) }

// core is a client without its safety net: what its pump, timers and subscriptions hold.
//
// Each client has a queue and a pump of its own, so that one ends with the other, and the calls of one client never wait for another's.
type core struct {
	mesh   native.Handle
	queue  *native.Queue
	pumped chan struct{}
	hooks  Hooks
	logger *logging
	// self is the client, as long as the program has it.
	self weak.Pointer[Client]

	// done ends with the client, and handlers' contexts with it.
	done   chan struct{}
	ending atomic.Bool

	mu    sync.Mutex
	slots []slot
	free  []uint32
	out   outbox

	// streams are open subscriptions, whose deliveries nobody was handed are given back when the client drains.
	streams map[*stream]struct{}

	// handling has the numbers of the goroutines that run handlers.
	handling sync.Map

	settles settles
	unseen  unseen
	// hasFile: publishes are admitted when they are in the offline file.
	hasFile atomic.Bool
}

// slot is a place for who waits for a call. Its generation is a part of the tag, so that an old tag means nothing.
type slot struct {
	waiter     waiter
	generation uint32
}

func newCore() *core {
	c := &core{queue: native.NewQueue(callsAtOnce), pumped: make(chan struct{}), done: make(chan struct{}), streams: make(map[*stream]struct{})}
	c.settles.cross, c.out.crossed.L = ackMany, &c.mu
	go c.pump()
	return c
}

// pump takes completions by the batch, and wakes who waits for them.
func (c *core) pump() {
	defer close(c.pumped)
	var taken []native.Completion
	var whom []waiter
	for open := true; open; {
		taken, open = c.queue.Take(taken[:0])
		whom = whom[:0]
		c.mu.Lock()
		for at := range taken {
			whom = append(whom, c.remove(taken[at].Tag))
		}
		c.mu.Unlock()
		for at, waiter := range whom {
			if waiter != nil {
				waiter.complete(&taken[at])
			}
		}
		clear(whom)
		clear(taken)
	}
}

// add gives a tag to who waits. The lock is held.
func (c *core) add(w waiter) uint64 {
	var at uint32
	if last := len(c.free) - 1; last >= 0 {
		at, c.free = c.free[last], c.free[:last]
	} else {
		c.slots = append(c.slots, slot{})
		at = uint32(len(c.slots) - 1)
	}
	place := &c.slots[at]
	place.waiter = w
	return uint64(place.generation)<<32 | uint64(at)
}

// remove gives who waits under a tag, and the tag means nothing any more. The lock is held.
func (c *core) remove(tag uint64) waiter {
	at := uint32(tag)
	if int(at) >= len(c.slots) || c.slots[at].generation != uint32(tag>>32) {
		return nil
	}
	place := &c.slots[at]
	w := place.waiter
	place.waiter = nil
	place.generation++
	c.free = append(c.free, at)
	return w
}

func (c *core) tag(w waiter) uint64 {
	c.mu.Lock()
	tag := c.add(w)
	c.mu.Unlock()
	return tag
}

func (c *core) untag(tag uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(tag)
}

// call is a call that somebody waits for.
type call struct{ done chan native.Completion }

func (w *call) complete(completion *native.Completion) { w.done <- *completion }

// begin begins a call.
func (c *core) begin(begin native.Begin) (*call, native.Handle, error) {
	w := &call{make(chan native.Completion, 1)}
	tag := c.tag(w)
	operation, failure := begin(c.queue, tag)
	if failure != nil {
		c.untag(tag)
		return nil, 0, c.failed(failure)
	}
	return w, operation, nil
}

// late is what a call came to: of a client that has ended meanwhile the library says that its numbers stand for nothing, which is CLOSED.
func (c *core) late(failure *native.Failure) *native.Failure {
	if failure == nil || failure.Code != numberOf(ErrInvalid) || !c.ending.Load() {
		return failure
	}
	return &native.Failure{Code: numberOf(ErrClosed), Name: string(CodeClosed), Operation: failure.Operation, Text: closedText}
}

func (c *core) failed(failure *native.Failure) error { return failed(c.late(failure)) }

// wait begins a call and waits for what it comes to. When the context ends the call is cancelled, which is its one completion too, unless
// it has come to something already. A client is not forgotten while somebody waits.
func (c *core) wait(ctx context.Context, begin native.Begin) (native.Completion, error) {
	defer runtime.KeepAlive(c.self.Value())
	w, operation, err := c.begin(begin)
	if err != nil {
		return native.Completion{}, err
	}
	var completion native.Completion
	select {
	case completion = <-w.done:
		native.FreeOperation(operation)
	case <-ctx.Done():
		native.Cancel(operation)
		completion = <-w.done
	}
	if err := failed(completion.Failure); err != nil {
		return completion, withCause(err, ctx)
	}
	return completion, nil
}

// early is the error of a call that the context ended before it began.
func early(ctx context.Context, operation string) error {
	if ctx.Err() == nil {
		return nil
	}
	return withCause(&Error{
		Code: CodeCancelled, Number: numberOf(ErrCancelled), Retry: RetryNow, Retryable: true, Operation: operation,
		Message: "the context had ended before the call began",
	}, ctx)
}

// check says that a client is of no use any more.
func (c *core) check(ctx context.Context, operation string) error {
	if c.ending.Load() {
		return closed(operation)
	}
	return early(ctx, operation)
}

// drain ends the client in good order, once; negative: with the default deadline.
func (c *core) drain(ctx context.Context, deadline time.Duration) error {
	c.send()
	c.settles.flush()
	c.mu.Lock()
	open := make([]*stream, 0, len(c.streams))
	for s := range c.streams {
		open = append(open, s)
	}
	c.mu.Unlock()
	for _, s := range open {
		s.leave()
	}
	milliseconds := int64(-1)
	if deadline >= 0 {
		milliseconds = millis(deadline)
	}
	_, err := c.wait(ctx, native.Drain(c.mesh, milliseconds))
	return err
}

// close frees the client and waits for its pump.
func (c *core) close(deadline time.Duration) {
	if c.mesh != 0 {
		native.Close(c.mesh, millis(deadline))
	}
	c.queue.Free()
	<-c.pumped
	c.endCalls()
	if c.logger != nil {
		c.logger.leave()
	}
}

// endCalls tells those whose completion went with the queue.
func (c *core) endCalls() {
	c.mu.Lock()
	var left []waiter
	for at := range c.slots {
		if w := c.slots[at].waiter; w != nil {
			c.slots[at].waiter = nil
			left = append(left, w)
		}
	}
	c.mu.Unlock()
	for _, w := range left {
		w.complete(&native.Completion{Failure: &native.Failure{
			Code: numberOf(ErrClosed), Name: string(CodeClosed), Operation: "close",
			Text: "the client was closed before the call came to anything",
		}})
	}
}
