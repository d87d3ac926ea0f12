package meshwire

import (
	"encoding/binary"
	"encoding/json"
	"iter"
	"math"
	"time"
	"unsafe"

	"github.com/meshwire/meshwire-go/internal/native"
)

// Message is an event that was received, and how it came. It is the program's: it stays as it is when the delivery is settled.
type Message struct {
	ID, Source, Type, Subject string
	// Key: events of one key come in order (attribute partitionkey).
	Key                     string
	ContentType, DataSchema string
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
	// Attempt is how often it was delivered to the group and failed there, this time included; 0 of requests and replies.
	Attempt int
	// Gap is how many events retention removed just before this one.
	Gap uint64

	stored, expires int64
	time            time.Time
	count           uint32
	attributes      []byte
}

// noTime is what the library says where there is no time.
const noTime = math.MinInt64

// Time is when it happened; zero: it does not say.
func (m *Message) Time() time.Time { return m.time }

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

// Attributes are all but id, source and type, with their canonical texts.
func (m *Message) Attributes() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		rest := reader{m.attributes}
		for range m.count {
			kind, name := rest.small(), rest.text()
			value := ""
			if kind == timeAttribute {
				value = canonical(rest.time())
			} else {
				value = rest.text()
			}
			if !yield(name, value) {
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
	for found, value := range m.Attributes() {
		if found == name {
			return value, true
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

// text shares the memory of what was packed, which nobody changes.
func (r *reader) text() string {
	run := r.run()
	return unsafe.String(unsafe.SliceData(run), len(run))
}

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

// take reads the next message.
func (m *Message) take(r *reader) come {
	m.Position, m.Attempt, m.Gap = uint64(r.long()), int(r.long()), uint64(r.long())
	m.stored, m.expires = r.long(), r.long()
	come := come{remaining: time.Duration(r.long()) * time.Millisecond, number: uint64(r.long()), stream: r.small() != 0}
	m.Topic, m.ID, m.Source, m.Type = r.text(), r.text(), r.text(), r.text()
	m.count = r.small()
	begin := r.bytes
	for range m.count {
		kind, name := r.small(), r.text()
		if kind == timeAttribute {
			if at := r.time(); name == "time" {
				m.time = at
			}
			continue
		}
		place := m.place(name)
		if value := r.text(); place != nil {
			*place = value
		}
	}
	m.attributes = begin[: len(begin)-len(r.bytes) : len(begin)-len(r.bytes)]
	kind := r.small()
	m.HasData, m.IsText = kind != noData, kind == textData
	if m.Data = r.run(); len(m.Data) > largeData {
		// What is large does not keep its neighbours in memory.
		m.Data = append([]byte(nil), m.Data...)
	}
	return come
}

// largeData is a guess.
const largeData = 64 << 10

// place is where an attribute has a name of its own.
func (m *Message) place(name string) *string {
	switch name {
	case "subject":
		return &m.Subject
	case "partitionkey":
		return &m.Key
	case "datacontenttype":
		return &m.ContentType
	case "dataschema":
		return &m.DataSchema
	}
	return nil
}

// pack has the library write messages down, and gives a reader of them.
func pack(kind int, things []native.Handle, buffer []byte) (reader, error) {
	packed, failure := native.Pack(kind, things, buffer)
	return reader{packed}, failed(failure)
}
