package meshwire

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/meshwire/meshwire-go/internal/native"
)

// Receipt is the gateway's word that an event is kept.
type Receipt struct {
	// Position is where it is in its topic; 0: not told, as of an event that is delivered later.
	Position uint64
	// Duplicate: the topic had an event of this source and id, and kept only that.
	Duplicate bool
}

// Pending is a publish on its way.
type Pending struct {
	core *core
	tag  uint64
	// ended is set when the rest is.
	ended   atomic.Bool
	waits   atomic.Pointer[chan struct{}]
	receipt Receipt
	failure *native.Failure
	// admits is of a publish that is to be admitted first.
	admits chan struct{}
	// async: Flush tells of its failure, unless somebody asked for its receipt.
	async bool
	seen  atomic.Bool
}

// complete is called once, by the pump or by who could not begin.
func (p *Pending) complete(completion *native.Completion) {
	if completion.Kind == native.Started {
		p.admitted(completion.Value)
		return
	}
	p.receipt = Receipt{completion.Position, completion.Duplicate}
	p.end(completion.Failure)
}

func (p *Pending) end(failure *native.Failure) {
	p.failure = failure
	if failure != nil && p.async {
		p.core.unseen.note(p)
	}
	p.ended.Store(true)
	if p.admits != nil {
		close(p.admits)
		p.admits = nil
	}
	// Whoever stores a channel looks again whether it has ended.
	if waits := p.waits.Load(); waits != nil {
		close(*waits)
	}
}

// admitted goes on to wait for the receipt.
func (p *Pending) admitted(started native.Handle) {
	tag := p.core.tag(p)
	failure := p.core.late(native.StartedReceipt(started, p.core.queue, tag))
	if failure != nil {
		p.core.untag(tag)
		p.end(failure)
		return
	}
	admits := p.admits
	p.admits = nil
	close(admits)
}

// Done says whether Receipt would not wait.
func (p *Pending) Done() bool { return p.ended.Load() }

// until waits until it has ended, or the context has.
func (p *Pending) until(ctx context.Context) bool {
	if p.ended.Load() {
		return true
	}
	p.core.hurry()
	defer runtime.KeepAlive(p.core.self.Value())
	waits := p.waits.Load()
	if waits == nil {
		made := make(chan struct{})
		if waits = &made; !p.waits.CompareAndSwap(nil, waits) {
			waits = p.waits.Load()
		}
		if p.ended.Load() {
			// The other one may have looked before the channel was there.
			return true
		}
	}
	ended := ctx.Done()
	if ended == nil {
		// Cheaper than a choice of one.
		<-*waits
		return true
	}
	select {
	case <-*waits:
		return true
	case <-ended:
		return p.ended.Load()
	}
}

// Receipt waits for the gateway's word. When the context ends it stops waiting, and the publish goes on: the error is the context's, and
// says that the outcome is not known.
func (p *Pending) Receipt(ctx context.Context) (Receipt, error) {
	if !p.until(ctx) {
		return Receipt{}, withCause(&Error{
			Code: CodeCancelled, Number: numberOf(ErrCancelled), Retry: RetryUnknownOutcome, Operation: "publish",
			Message: "its receipt was waited for no longer; outcome unknown: the publish goes on",
		}, ctx)
	}
	if p.failure != nil {
		p.seen.Store(true)
		return Receipt{}, failed(p.failure)
	}
	return p.receipt, nil
}

// unseen are publishes that failed and whose receipt nobody has asked for.
type unseen struct {
	mu   sync.Mutex
	all  []*Pending
	more int
}

// unseenMost are kept whole; of more it is said how many.
const unseenMost = 100

func (u *unseen) note(p *Pending) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.all) < unseenMost {
		u.all = append(u.all, p)
	} else {
		u.more++
	}
}

// take gives what failed since the last time.
func (u *unseen) take() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	var all []error
	for _, p := range u.all {
		if !p.seen.Swap(true) {
			all = append(all, failed(p.failure))
		}
	}
	if u.more > 0 {
		all = append(all, fmt.Errorf("meshwire: %d more publishes failed", u.more))
	}
	u.all, u.more = nil, 0
	return errors.Join(all...)
}

// events are used again where nobody else has seen them.
var events = sync.Pool{New: func() any { return new(Event) }}

// spent gives an event back that was packed, if there is one.
func (c *core) spent(e *Event) {
	if e != nil && c.hooks.OnPublish == nil {
		*e = Event{}
		events.Put(e)
	}
}

// event makes an event of what the caller said, and has the hook see it.
func (c *core) event(ctx context.Context, topic string, data any, options []EventOption) (*Event, error) {
	e, _ := events.Get().(*Event)
	e.take(data)
	for _, option := range options {
		if option != nil {
			option.event(e)
		}
	}
	return e, c.published(ctx, topic, e)
}

// Publish publishes an event and waits until it is kept to the topic's level of durability. data is made by Bytes, Text or JSON; an
// Event, an event of the official CloudEvents SDK, []byte and string are taken as they are, and any other value is written as JSON.
//
// One after the other this takes a round trip each: for many use PublishAsync, or many goroutines.
func (c *Client) Publish(ctx context.Context, topic string, data any, options ...EventOption) (Receipt, error) {
	defer runtime.KeepAlive(c)
	if err := c.check(ctx, "publish"); err != nil {
		return Receipt{}, err
	}
	e, err := c.event(ctx, topic, data, options)
	if err != nil {
		return Receipt{}, err
	}
	p := &Pending{core: c.core}
	c.out.waiting.Add(1)
	defer c.out.waiting.Add(-1)
	err = c.join(p, topic, e)
	c.spent(e)
	if err != nil {
		return Receipt{}, err
	}
	if !p.until(ctx) {
		if !native.CancelPublish(c.mesh, c.queue, p.tag) {
			return p.Receipt(ctx)
		}
		// It was called back, which is its completion.
		p.until(context.Background())
		_, err := p.Receipt(context.Background())
		return Receipt{}, withCause(err, ctx)
	}
	return p.Receipt(ctx)
}

// buffers are for one event on its way.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// PublishAsync publishes an event and waits for room only, where the window of what is unanswered is full: the receipt comes later. Events
// of one goroutine are published in order. data is as with Publish. An event that cannot be refused leaves with those behind it, after half a
// millisecond at the latest, or when somebody waits.
func (c *Client) PublishAsync(ctx context.Context, topic string, data any, options ...EventOption) (*Pending, error) {
	defer runtime.KeepAlive(c)
	if err := c.check(ctx, "publish"); err != nil {
		return nil, err
	}
	what := parcel{}
	if alone, isData := data.(Data); isData && len(options) == 0 && c.hooks.OnPublish == nil {
		what.data = alone
	} else {
		e, err := c.event(ctx, topic, data, options)
		if err != nil {
			return nil, err
		}
		what.event = e
	}
	p := &Pending{core: c.core, async: true}
	if err := c.room(ctx); err != nil {
		return nil, err
	}
	if what.isPlain() && c.gather(p, topic, what) {
		c.spent(what.event)
		return p, nil
	}
	// In order behind those that wait for company.
	c.send()
	if c.hasFile.Load() {
		return c.admit(ctx, p, topic, what)
	}
	failure, err := c.try(p, roomNow, topic, what)
	if err != nil {
		return nil, err
	}
	switch {
	case failure == nil:
		c.know(topic)
		c.spent(what.event)
		return p, nil
	case Code(failure.Name) == CodeUnsupported:
		// With an offline file an event is admitted when it is in there.
		c.hasFile.Store(true)
		return c.admit(ctx, p, topic, what)
	case Code(failure.Name) != CodeBufferFull:
		return nil, failed(failure)
	}
	// It waits for room in the library, and this goroutine until it has had it.
	if failure, err = c.try(p, roomWait, topic, what); err != nil {
		return nil, err
	}
	if failure != nil {
		return nil, failed(failure)
	}
	if !p.until(ctx) && native.CancelPublish(c.mesh, c.queue, p.tag) {
		p.until(context.Background())
		_, err := p.Receipt(context.Background())
		return nil, withCause(err, ctx)
	}
	return p, nil
}

// try hands one event to the library.
func (c *core) try(p *Pending, room uint32, topic string, what parcel) (*native.Failure, error) {
	buffer, _ := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	p.tag = c.tag(p)
	packed, err := pack1((*buffer)[:0], p.tag, room, topic, what)
	if err != nil {
		c.untag(p.tag)
		return nil, err
	}
	refused, failure := native.PublishPacked(c.mesh, packed, 1, c.queue, nil)
	if cap(packed) <= keptBytes {
		*buffer = packed
	}
	if failure = c.late(failure); failure == nil && len(refused) > 0 {
		failure = refused[0].Failure
	}
	if failure != nil {
		c.untag(p.tag)
	}
	return failure, nil
}

// admit waits until the event is admitted.
func (c *core) admit(ctx context.Context, p *Pending, topic string, what parcel) (*Pending, error) {
	packed, err := what.appendTo(nil)
	if err != nil {
		return nil, err
	}
	admits := make(chan struct{})
	p.admits = admits
	p.tag = c.tag(p)
	operation, failure := native.Admit(c.mesh, topic, packed)(c.queue, p.tag)
	if failure != nil {
		c.untag(p.tag)
		return nil, c.failed(failure)
	}
	select {
	case <-admits:
		native.FreeOperation(operation)
	case <-ctx.Done():
		native.Cancel(operation)
		<-admits
	}
	if p.ended.Load() && p.failure != nil {
		p.seen.Store(true)
		return nil, withCause(failed(p.failure), ctx)
	}
	return p, nil
}

// Result is what one event of a batch came to.
type Result struct {
	Receipt Receipt
	// Err is why it failed; nil: it did not.
	Err error
}

// PublishBatch publishes events as one batch, and waits for all of them: one result for each, in order. What is wrong with one is in its
// result alone. The items are as data of Publish.
func (c *Client) PublishBatch(ctx context.Context, topic string, items ...any) []Result {
	results := make([]Result, len(items))
	all := func(err error) []Result {
		for at := range results {
			if results[at].Err == nil {
				results[at].Err = err
			}
		}
		return results
	}
	if err := c.check(ctx, "publish_batch"); err != nil {
		return all(err)
	}
	var packed []byte
	var places []int
	for at, item := range items {
		e, err := c.event(ctx, topic, item, nil)
		if err == nil {
			packed, err = e.appendTo(packed)
			c.spent(e)
		}
		if err != nil {
			results[at].Err = err
			continue
		}
		places = append(places, at)
	}
	c.send()
	completion, err := c.wait(ctx, native.PublishBatch(c.mesh, topic, packed, len(places)))
	if err != nil {
		return all(err)
	}
	for at, answer := range native.TakeReceipts(completion.Value, completion.Count) {
		results[places[at]] = Result{Receipt{answer.Position, answer.Duplicate}, failed(answer.Failure)}
	}
	return results
}
