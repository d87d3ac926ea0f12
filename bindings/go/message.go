package meshwire

import (
	"encoding/binary"
	"encoding/json"
	"iter"
	"math"
	"sync"
	"time"
	"unsafe"

	"github.com/meshwire/meshwire-go/internal/native"
)

// Message is an event that was received, and how it came. It is the program's: it stays as it is when the delivery is settled. What every
// event has is at hand in its fields; what some have (Subject, ContentType, Time, ...) is read when it is asked for.
type Message struct {
	ID, Source, Type string
	// Key: events of one key come in order (attribute partitionkey).
	Key string
	// Data is what it carries. It shares memory with its neighbours: copy what is kept for long.
	Data []byte
	// HasData: it carries data, which may be empty.
	HasData bool
	// IsText: the data is text, and was checked to be UTF-8.
	IsText bool
	// Topic is where it came from.
	Topic string
	// Position is where it is in its topic; 0 of requests and replies.
	Position uint64
	// Attempt is how often clients of the group have got it, this time included: 1 the first time; 0 of requests and replies. What went
	// back before a program was handed it counts too, so that it may be more than the failures and one. Of deliveries before the gateway's
	// last start only those count that failed.
	Attempt int
	// Gap is how many events retention removed just before this one.
	Gap uint64

	stored, expires int64
	// event is all of it, as it came.
	event string
}

// noTime is what the library says where there is no time.
const noTime = math.MinInt64

// Subject is what in the source it is about.
func (m *Message) Subject() string { return m.text("subject") }

// ContentType is what the data is.
func (m *Message) ContentType() string { return m.text("datacontenttype") }

// DataSchema is where the data's schema is.
func (m *Message) DataSchema() string { return m.text("dataschema") }

// Time is when it happened; zero: it does not say.
func (m *Message) Time() time.Time {
	for name, value := range m.attributes() {
		if name == "time" {
			return value.at
		}
	}
	return time.Time{}
}

// Stored is when the gateway stored it; zero of requests and replies.
func (m *Message) Stored() time.Time { return at(m.stored) }

// Expires is from when on nobody gets it any more; zero: never.
func (m *Message) Expires() time.Time { return at(m.expires) }

func at(millis int64) time.Time {
	if millis == noTime || millis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(millis)
}

// JSON reads the data into a value.
func (m *Message) JSON(into any) error {
	if err := json.Unmarshal(m.Data, into); err != nil {
		return invalid("json", "the data of event "+m.ID+" is not what was asked for", err)
	}
	return nil
}

// Text is the data as text.
func (m *Message) Text() string { return string(m.Data) }

// value is what an attribute has: a text, or a moment.
type value struct {
	text   string
	at     time.Time
	moment bool
}

func (v value) String() string {
	if v.moment {
		return canonical(v.at)
	}
	return v.text
}

// attributes has the library read what else the event says.
func (m *Message) attributes() iter.Seq2[string, value] {
	return func(yield func(string, value) bool) {
		if m.event == "" {
			return
		}
		packed, failure := native.Attributes(m.event)
		if failure != nil {
			// It was read before it was handed out.
			return
		}
		rest := reader{packed}
		for range rest.small() {
			kind, name := rest.small(), rest.text()
			one := value{moment: kind == timeAttribute}
			if one.moment {
				one.at = rest.time()
			} else {
				one.text = rest.text()
			}
			if !yield(name, one) {
				return
			}
		}
	}
}

func (m *Message) text(wanted string) string {
	for name, value := range m.attributes() {
		if name == wanted {
			return value.String()
		}
	}
	return ""
}

// Attributes are all but id, source and type, with their canonical texts.
func (m *Message) Attributes() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for name, value := range m.attributes() {
			if !yield(name, value.String()) {
				return
			}
		}
	}
}

// Attribute is one by its name, as its canonical text.
func (m *Message) Attribute(name string) (string, bool) {
	switch name {
	case "id":
		return m.ID, true
	case "source":
		return m.Source, true
	case "type":
		return m.Type, true
	}
	for found, value := range m.attributes() {
		if found == name {
			return value.String(), true
		}
	}
	return "", false
}

// reader reads what the library packed, which is well formed.
type reader struct{ bytes []byte }

func (r *reader) small() uint32 {
	n := binary.LittleEndian.Uint32(r.bytes)
	r.bytes = r.bytes[4:]
	return n
}

func (r *reader) long() int64 {
	n := binary.LittleEndian.Uint64(r.bytes)
	r.bytes = r.bytes[8:]
	return int64(n)
}

func (r *reader) run() []byte {
	n := r.small()
	run := r.bytes[:n:n]
	r.bytes = r.bytes[n:]
	return run
}

func (r *reader) text() string { return shared(r.run()) }

func (r *reader) time() time.Time {
	seconds := r.long()
	return time.Unix(seconds, int64(r.small())).UTC()
}

// canonical is a time as CloudEvents has it, with as many groups of three digits as it needs.
func canonical(at time.Time) string {
	switch nanos := at.Nanosecond(); {
	case nanos == 0:
		return at.Format("2006-01-02T15:04:05Z")
	case nanos%1e6 == 0:
		return at.Format("2006-01-02T15:04:05.000Z")
	case nanos%1e3 == 0:
		return at.Format("2006-01-02T15:04:05.000000Z")
	default:
		return at.Format("2006-01-02T15:04:05.000000000Z")
	}
}

// come is what only some messages have.
type come struct {
	remaining time.Duration
	number    uint64
	stream    bool
}

// messages are what the library wrote down: what it says of them, which is read at once, and their events, which the program keeps.
type messages struct {
	heads, events []byte
	// topic is that of the last one, as which the next ones mostly have it.
	topic string
}

// head is how many bytes stand before the topic of a message.
const head = 6*8 + 16*4

// take reads the next message.
func (m *Message) take(all *messages) come {
	number := binary.LittleEndian
	h := (*[head]byte)(all.heads)
	m.Position, m.Gap = number.Uint64(h[0:]), number.Uint64(h[8:])
	m.stored, m.expires = int64(number.Uint64(h[16:])), int64(number.Uint64(h[24:]))
	come := come{
		remaining: time.Duration(number.Uint64(h[32:])) * time.Millisecond, number: number.Uint64(h[40:]),
		stream: number.Uint32(h[52:]) != 0,
	}
	m.Attempt = int(number.Uint32(h[48:]))
	topic, size := number.Uint32(h[56:]), number.Uint32(h[60:])
	// Comparing makes no text of it.
	if name := all.heads[head : head+topic]; string(name) != all.topic {
		all.topic = string(name)
	}
	m.Topic = all.topic
	all.heads = all.heads[(head+topic+7)&^7:]
	event := all.events[:size:size]
	all.events = all.events[size:]
	if len(event) > largeEvent {
		// What is large does not keep its neighbours in memory.
		event = append([]byte(nil), event...)
	}
	m.event = shared(event)
	part := func(at int) []byte {
		begin, size := number.Uint32(h[at:]), number.Uint32(h[at+4:])
		return event[begin : begin+size : begin+size]
	}
	m.ID, m.Source, m.Type, m.Key = shared(part(64)), shared(part(72)), shared(part(80)), shared(part(88))
	m.Data = part(96)
	kind := number.Uint32(h[104:])
	m.HasData, m.IsText = kind != noData, kind == textData
	return come
}

// largeEvent is a guess.
const largeEvent = 64 << 10

// shared is text in the memory of what was packed, which nobody changes.
func shared(bytes []byte) string { return unsafe.String(unsafe.SliceData(bytes), len(bytes)) }

// scratch is for what is read at once.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// unpack has the library write messages down, and has them read.
func unpack(kind int, things []native.Handle, topic string, guess int, read func(*messages)) error {
	heads := scratch.Get().(*[]byte)
	defer scratch.Put(heads)
	said, events, failure := native.Pack(kind, things, *heads, guess)
	if failure != nil {
		return failed(failure)
	}
	*heads = said[:cap(said)]
	read(&messages{said, events, topic})
	return nil
}
