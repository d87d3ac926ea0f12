package meshwire

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/meshwire/meshwire-go/internal/native"
)

// outbox is what publishes leave in, many in one call to the library: those that came while one of them crosses, and of PublishAsync those
// that came one after the other.
type outbox struct {
	packed   []byte
	spare    []byte
	pending  []*Pending
	away     []*Pending
	refusals native.Refusals
	crossing bool
	// crossed is told when nobody crosses.
	crossed sync.Cond
	// waiting are the plain publishes that have no receipt yet.
	waiting atomic.Int64
	// topics are those that the library has taken an event for.
	topics map[string]struct{}
	timer  *time.Timer
	// armed: the timer runs.
	armed bool
	// full is the last event of those that found no room.
	full atomic.Pointer[Pending]
}

const (
	// gatherMost is about what the client writes at once.
	gatherMost  = 64
	gatherBytes = 64 << 10
	// gatherAge is little beside what a gateway takes to answer.
	gatherAge = 500 * time.Microsecond
	// plainBytes is far below any limit of an event, and plainText of its attributes.
	plainBytes = 16 << 10
	plainText  = 1 << 10
	// topicsMost are known at once.
	topicsMost = 1024
	// keptBytes is the largest buffer that is used again.
	keptBytes = 1 << 20
)

// rooms, as the library has them: fail when the window is full, or wait, and whether option publish_timeout holds then.
const (
	roomNow uint32 = iota
	roomWait
	roomSoon
)

// parcel is an event, or data alone.
type parcel struct {
	event *Event
	data  Data
}

func (p *parcel) appendTo(to []byte) ([]byte, error) {
	if p.event != nil {
		return p.event.appendTo(to)
	}
	return p.data.appendTo(to)
}

// pack1 puts an event behind its tag, its room and its topic. The lock is held, or the bytes are the caller's own.
func pack1(to []byte, tag uint64, room uint32, topic string, what parcel) ([]byte, error) {
	begin := len(to)
	to = binary.LittleEndian.AppendUint64(to, tag)
	to = binary.LittleEndian.AppendUint32(to, room)
	to, err := what.appendTo(appendText(to, topic))
	if err != nil {
		return to[:begin], err
	}
	return to, nil
}

// isPlain says that the library has no reason to refuse it, so that it may leave a little later. What could be refused crosses at once, and
// there it is judged.
func (p *parcel) isPlain() bool {
	data := &p.data
	if e := p.event; e != nil {
		data = &e.Data
		if e.err != nil || len(e.Extensions) > 0 || e.timeText != "" || !e.Time.IsZero() || !e.DeliverAt.IsZero() ||
			e.DeliverAfter != 0 || e.ExpiresIn != 0 {
			return false
		}
		for _, text := range [...]string{e.ID, e.Source, e.Type, e.Subject, e.Key, e.ContentType, e.DataSchema} {
			if !isPrintable(text) {
				return false
			}
		}
	}
	return data.err == nil && len(data.bytes) <= plainBytes && (data.kind <= bytesData || utf8.Valid(data.bytes))
}

func isPrintable(text string) bool {
	for at := range len(text) {
		if text[at] < ' ' || text[at] > '~' {
			return false
		}
	}
	return len(text) <= plainText
}

// know notes that the library takes events for a topic.
func (c *core) know(topic string) {
	c.mu.Lock()
	if _, known := c.out.topics[topic]; !known {
		if c.out.topics == nil || len(c.out.topics) >= topicsMost {
			c.out.topics = make(map[string]struct{})
		}
		c.out.topics[topic] = struct{}{}
	}
	c.mu.Unlock()
}

// put puts an event into the outbox. The lock is held.
func (c *core) put(p *Pending, room uint32, topic string, what parcel) error {
	p.tag = c.add(p)
	packed, err := pack1(c.out.packed, p.tag, room, topic, what)
	c.out.packed = packed
	if err != nil {
		c.remove(p.tag)
		return err
	}
	c.out.pending = append(c.out.pending, p)
	return nil
}

// gather leaves an event in the outbox for others to come along; false: not of this topic yet.
func (c *core) gather(p *Pending, topic string, what parcel) bool {
	c.mu.Lock()
	if _, known := c.out.topics[topic]; !known || c.put(p, roomSoon, topic, what) != nil {
		c.mu.Unlock()
		return false
	}
	if len(c.out.pending) >= gatherMost || len(c.out.packed) >= gatherBytes {
		c.crossAll()
		return true
	}
	if !c.out.armed {
		c.out.armed = true
		if c.out.timer == nil {
			c.out.timer = time.AfterFunc(gatherAge, c.leave)
		} else {
			c.out.timer.Reset(gatherAge)
		}
	}
	c.mu.Unlock()
	return true
}

// leave is for those to whom no others came.
func (c *core) leave() {
	c.mu.Lock()
	c.out.armed = false
	c.crossAll()
}

// hurry has all that was left cross now, because somebody waits.
func (c *core) hurry() {
	c.mu.Lock()
	c.crossAll()
}

// send has all that was left cross before it returns.
func (c *core) send() {
	c.mu.Lock()
	for c.out.crossing {
		c.out.crossed.Wait()
	}
	c.crossAll()
}

// room waits until there is room for more.
func (c *core) room(ctx context.Context) error {
	full := c.out.full.Load()
	if full == nil || full.until(ctx) {
		return nil
	}
	return withCause(&Error{
		Code: CodeCancelled, Number: numberOf(ErrCancelled), Retry: RetryNow, Retryable: true, Operation: "publish",
		Message: "the context ended before there was room in the window of unanswered publishes: nothing was published",
	}, ctx)
}

// join leaves an event in the outbox, and has it and what others left cross, unless somebody is about that.
func (c *core) join(p *Pending, topic string, e *Event) error {
	c.mu.Lock()
	if err := c.put(p, roomWait, topic, parcel{event: e}); err != nil {
		c.mu.Unlock()
		return err
	}
	if !c.out.crossing && c.out.waiting.Load() > 1 {
		// Those whose receipts came together are about to publish again: they come along.
		c.out.crossing = true
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
		c.out.crossing = false
	}
	c.crossAll()
	return nil
}

// crossAll has all that was left cross, unless somebody is about that. The lock is held, and is not any more.
func (c *core) crossAll() {
	if c.out.crossing {
		c.mu.Unlock()
		return
	}
	for len(c.out.pending) > 0 {
		c.out.crossing = true
		packed, away := c.out.packed, c.out.pending
		c.out.packed, c.out.pending = c.out.spare[:0], c.out.away[:0]
		c.out.spare, c.out.away = nil, nil
		c.mu.Unlock()
		c.cross(packed, away)
		clear(away)
		c.mu.Lock()
		if cap(packed) <= keptBytes {
			c.out.spare = packed
		}
		c.out.away = away
	}
	if c.out.crossing {
		c.out.crossing = false
		c.out.crossed.Broadcast()
	}
	c.mu.Unlock()
}

// cross hands events to the library; those that it refuses end here.
func (c *core) cross(packed []byte, away []*Pending) {
	refused, failure := native.PublishPacked(c.mesh, packed, len(away), c.queue, &c.out.refusals)
	if failure = c.late(failure); failure != nil {
		for _, p := range away {
			c.refuse(p.tag, failure)
		}
	}
	for _, refusal := range refused {
		c.refuse(refusal.Tag, refusal.Failure)
	}
	if native.PublishWaiting(c.mesh) > 0 {
		c.out.full.Store(away[len(away)-1])
	} else if c.out.full.Load() != nil {
		c.out.full.Store(nil)
	}
}

func (c *core) refuse(tag uint64, failure *native.Failure) {
	c.mu.Lock()
	w := c.remove(tag)
	c.mu.Unlock()
	if w != nil {
		w.complete(&native.Completion{Failure: failure})
	}
}
