package meshwire

import (
	"context"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshwire/meshwire-go/internal/native"
)

// Subscription is a stream of deliveries, which the program settles.
type Subscription struct {
	*stream
	// client is not forgotten as long as the program has this. A stream, which the client has, has none.
	client *Client
}

// stream is a subscription without its safety net.
type stream struct {
	core   *core
	topic  string
	handle native.Handle
	over   sync.Once
	closed chan struct{}

	// turn: one goroutine takes at a time.
	turn turn
	here []Delivery
	next int
	// failed came behind the last batch.
	failed  error
	handles []native.Handle
	// size is how many bytes an event of the last batch took; 0: there is no guess for the next one.
	size int
	// claimed is when the library was last told that the program was handed one.
	claimed time.Time

	// unclaimed is the last one that the program was handed since; the timer tells it.
	unclaimed atomic.Uintptr
	armed     atomic.Bool
	timer     *time.Timer
}

// turn is a lock that whoever wants it may give up waiting for: it is held while the channel is full.
type turn chan struct{}

func (t turn) take() { t <- struct{}{} }
func (t turn) give() { <-t }

func (t turn) try() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

// mostAtOnce is as many as are sent ahead by default, so that a batch is what is there. Until the program is handed them the library looks
// after them.
const mostAtOnce = 256

// guessable is how large events may be for a guess: a bad one for large events would be much memory for nothing.
const guessable = 4 << 10

// claimAge is how long what the program is handed may wait to be claimed, so that a program that is fast pays no call for each: far below the
// shortest ack wait, in which the library takes nothing back, and below what a reconnect takes.
const claimAge = 20 * time.Millisecond

// Subscribe subscribes to a topic. With Group it takes its share of the group's events; without, it gets all that is published from now
// on. When Subscribe returns the gateway knows of it.
func (c *Client) Subscribe(ctx context.Context, topic string, options ...SubscribeOption) (*Subscription, error) {
	if err := c.check(ctx, "subscribe"); err != nil {
		return nil, err
	}
	var said said
	for _, option := range options {
		if option != nil {
			option.subscribe(&said)
		}
	}
	if said.err != nil {
		return nil, said.err
	}
	completion, err := c.wait(ctx, native.Subscribe(c.mesh, topic, said.text()))
	if err != nil {
		return nil, err
	}
	s := &stream{core: c.core, topic: topic, handle: completion.Value, closed: make(chan struct{}), turn: make(turn, 1)}
	native.TakeAhead(s.handle)
	c.mu.Lock()
	c.streams[s] = struct{}{}
	c.mu.Unlock()
	sub := &Subscription{s, c}
	// Only a net.
	runtime.AddCleanup(sub, func(s *stream) { s.end(native.Unsubscribe) }, s)
	return sub, nil
}

// Topic is what was subscribed to.
func (s *Subscription) Topic() string { return s.topic }

// Close ends the subscription. What is unsettled comes again at once, and has not failed; what is said of it later is not heard. Again is
// nothing.
func (s *Subscription) Close() error {
	s.end(native.Unsubscribe)
	runtime.KeepAlive(s)
	return nil
}

func (s *stream) end(how func(native.Handle)) {
	s.over.Do(func() {
		s.core.settles.flush()
		s.claim()
		// First: whoever finds the handle gone finds why.
		close(s.closed)
		how(s.handle)
		s.core.mu.Lock()
		delete(s.core.streams, s)
		s.core.mu.Unlock()
		s.turn.take()
		defer s.turn.give()
		s.drop()
	})
}

// drop gives back what the program was not handed: it has not failed. The turn is held.
func (s *stream) drop() {
	var rest []native.Handle
	for at := min(s.next, len(s.here)); at < len(s.here); at++ {
		if handle := s.here[at].held().Swap(0); handle != 0 {
			rest = append(rest, handle)
		}
	}
	native.GiveBack(rest)
	s.here, s.next = nil, 0
}

// leave is for a client that drains: nothing more is handed out.
func (s *stream) leave() {
	// Whoever has the turn waits for more, and is told the end.
	if s.turn.try() {
		s.drop()
		s.turn.give()
	}
}

// All are the deliveries as they come, until the subscription or the client is closed, or the context ends, which is the last error, and comes
// before what waits to be handed out; after other errors more may come. The program settles them. Leaving the loop closes the subscription: what the program was handed and has not
// settled has failed, and the rest comes again at once.
func (s *Subscription) All(ctx context.Context) iter.Seq2[*Delivery, error] {
	return func(yield func(*Delivery, error) bool) {
		defer func() {
			s.end(native.Leave)
			runtime.KeepAlive(s)
		}()
		for {
			d, err := s.take(ctx)
			if d == nil && err == nil {
				return
			}
			if !yield(d, err) || ctx.Err() != nil && err != nil {
				return
			}
		}
	}
}

// take waits for the next delivery, and has the hook see it.
func (s *Subscription) take(ctx context.Context) (*Delivery, error) {
	d, err := s.stream.take(ctx)
	if d != nil {
		s.core.delivered(d)
	}
	return d, err
}

// Next waits for the next delivery; with a context that has ended it gives none, also where one is here. CLOSED says that the subscription is
// over. Several goroutines may wait: they take turns, each until its own context ends.
func (s *Subscription) Next(ctx context.Context) (*Delivery, error) {
	defer runtime.KeepAlive(s)
	d, err := s.take(ctx)
	if d == nil && err == nil {
		err = over()
	}
	return d, err
}

func over() error {
	return &Error{Code: CodeClosed, Number: numberOf(ErrClosed), Retry: RetryNever, Operation: "receive",
		Message: "the subscription is over"}
}

// begin waits for its turn; false: the subscription is over, or the context ended before.
func (s *stream) begin(ctx context.Context) (bool, error) {
	if s.turn.try() {
		return true, nil
	}
	select {
	case s.turn <- struct{}{}:
		return true, nil
	case <-s.closed:
		return false, nil
	case <-s.core.done:
		return false, nil
	case <-ctx.Done():
		return false, withCause(&Error{
			Code: CodeCancelled, Number: numberOf(ErrCancelled), Retry: RetryNow, Retryable: true, Operation: "receive",
			Message: "the context ended while another goroutine waited for this subscription's next delivery",
		}, ctx)
	}
}

// receivable is the error of a context that has ended: nothing that is here is handed out then. It is asked for each delivery, and Err of a
// context may take a lock.
func receivable(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return early(ctx, "receive")
	default:
		return nil
	}
}

// hand hands out the next one that is here; nil: none is. The turn is held.
func (s *stream) hand() *Delivery {
	for s.next < len(s.here) {
		d := &s.here[s.next]
		s.next++
		if now := time.Now(); now.Sub(s.claimed) < claimAge {
			s.handed(d)
		} else if native.Claim(d.held().Load()) {
			s.claimed = now
			s.unclaimed.Store(0)
		} else {
			// It comes again: handling it now would be once too often. So others may.
			s.claimed = time.Time{}
			native.GiveBack([]native.Handle{d.held().Swap(0)})
			continue
		}
		return d
	}
	return nil
}

// handed has the library told soon that the program has this one, and all before it. The turn is held.
func (s *stream) handed(d *Delivery) {
	s.unclaimed.Store(d.held().Load())
	if s.armed.Load() {
		return
	}
	s.armed.Store(true)
	if s.timer == nil {
		s.timer = time.AfterFunc(claimAge, s.claim)
	} else {
		s.timer.Reset(claimAge)
	}
}

// claim tells it. What was settled meanwhile is claimed by that.
func (s *stream) claim() {
	s.armed.Store(false)
	if handle := s.unclaimed.Swap(0); handle != 0 {
		native.Claim(handle)
	}
}

// more takes what the library has, without waiting. The turn is held.
func (s *stream) more(most int) error {
	if len(s.handles) < most {
		s.handles = make([]native.Handle, max(most, 16))
	}
	n, open, failure := native.NextNow(s.handle, s.handles[:most])
	if n == 0 || !open || failure != nil {
		return s.core.failed(failure)
	}
	return s.read(s.handles[:n])
}

// read has deliveries at hand. The turn is held.
func (s *stream) read(handles []native.Handle) error {
	guess := len(handles) * s.size
	here, size, err := s.core.deliveries(handles, s.topic, guess+guess/16)
	if err != nil {
		return err
	}
	s.here, s.next = here, 0
	if s.size = (size + len(handles) - 1) / max(len(handles), 1); s.size > guessable {
		s.size = 0
	}
	return nil
}

// ended says that the subscription was closed, or its client.
func (s *stream) ended() bool {
	select {
	case <-s.closed:
		return true
	case <-s.core.done:
		return true
	default:
		return false
	}
}

// take waits for the next delivery; nil without an error: it is over.
func (s *stream) take(ctx context.Context) (*Delivery, error) {
	if mine, err := s.begin(ctx); !mine {
		return nil, err
	}
	defer s.turn.give()
	for {
		if err := receivable(ctx); err != nil {
			return nil, err
		}
		if d := s.hand(); d != nil {
			return d, nil
		}
		if open, err := s.await(ctx); !open || err != nil {
			return nil, err
		}
	}
}

// await waits for deliveries when none is here; false: it is over, or failed. The turn is held.
func (s *stream) await(ctx context.Context) (bool, error) {
	if err := s.failed; err != nil {
		s.failed = nil
		return false, err
	}
	if s.ended() {
		return false, nil
	}
	s.here, s.next = nil, 0
	err := s.more(mostAtOnce)
	if err == nil && len(s.here) == 0 {
		// Whoever publishes more may wait for the acks of what is done.
		s.core.settles.flush()
		var completion native.Completion
		completion, err = s.core.wait(ctx, native.Next(s.handle, mostAtOnce))
		if err == nil && completion.Kind == native.Over {
			return false, nil
		}
		if err == nil && completion.Count > 0 {
			handles := make([]native.Handle, completion.Count)
			err = s.read(handles[:native.TakeDeliveries(completion.Value, handles)])
			return err == nil, err
		}
	}
	if err != nil && s.ended() {
		// Its handle may have gone meanwhile.
		return false, nil
	}
	return err == nil, err
}
