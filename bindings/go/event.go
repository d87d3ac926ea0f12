package meshwire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// Data is what an event carries; made by Bytes, Text and JSON.
type Data struct {
	bytes []byte
	kind  uint32
	err   error
}

// Kinds of data, as the library numbers them.
const (
	noData uint32 = iota
	bytesData
	textData
	jsonData
)

// Bytes is data that is bytes: application/octet-stream, unless ContentType says something else. They are copied before a call returns.
func Bytes(data []byte) Data { return Data{bytes: data, kind: bytesData} }

// Text is data that is text: text/plain, unless ContentType says something else.
func Text(text string) Data { return Data{bytes: []byte(text), kind: textData} }

// JSON is data that is a value as encoding/json writes it: application/json. What cannot be written is an error of the call it is given to.
func JSON(value any) Data {
	data, err := json.Marshal(value)
	return Data{bytes: data, kind: jsonData, err: err}
}

// Event is an event to publish with all that it says. What is empty of ID, Source, Type and Time is filled in when it is published.
type Event struct {
	ID, Source, Type, Subject string
	// Key: events of one key come in order (attribute partitionkey).
	Key                     string
	ContentType, DataSchema string
	Time                    time.Time
	Data                    Data
	// Extensions are attributes beside these: string, bool, int, int32, int64, []byte or time.Time.
	Extensions map[string]any
	// DeliverAt, DeliverAfter and ExpiresIn say when it is delivered, as the options of these names do; zero: at once, and for ever.
	DeliverAt    time.Time
	DeliverAfter time.Duration
	ExpiresIn    time.Duration

	// timeText is a time that was said as text.
	timeText string
	err      error
}

// Set sets an attribute by its name in CloudEvents, for hooks and whoever has names only.
func (e *Event) Set(name, value string) {
	switch name {
	case "id":
		e.ID = value
	case "source":
		e.Source = value
	case "type":
		e.Type = value
	case "subject":
		e.Subject = value
	case "partitionkey":
		e.Key = value
	case "datacontenttype":
		e.ContentType = value
	case "dataschema":
		e.DataSchema = value
	case "time":
		e.timeText = value
	default:
		e.extend(name, value)
	}
}

// Get gives an attribute by its name; "": it has none so far.
func (e *Event) Get(name string) string {
	switch name {
	case "id":
		return e.ID
	case "source":
		return e.Source
	case "type":
		return e.Type
	case "subject":
		return e.Subject
	case "partitionkey":
		return e.Key
	case "datacontenttype":
		return e.ContentType
	case "dataschema":
		return e.DataSchema
	case "time":
		if e.timeText == "" && !e.Time.IsZero() {
			return e.Time.Format(time.RFC3339Nano)
		}
		return e.timeText
	}
	if value, ok := e.Extensions[name]; ok {
		return fmt.Sprint(value)
	}
	return ""
}

func (e *Event) extend(name string, value any) {
	// The map may be the caller's.
	all := make(map[string]any, len(e.Extensions)+1)
	for name, value := range e.Extensions {
		all[name] = value
	}
	all[name] = value
	e.Extensions = all
}

// EventOption says something of an event beside its data. Options of events may be given to requests too.
type EventOption interface {
	RequestOption
	event(*Event)
}

type attribute struct{ name, value string }

func (a attribute) event(e *Event)         { e.Set(a.name, a.value) }
func (a attribute) request(r *requestSaid) { a.event(&r.event) }

// ID identifies the event together with its source. By default a UUID of version 7.
func ID(id string) EventOption { return attribute{"id", id} }

// Source is who publishes it. By default //HOST/CLIENT NAME.
func Source(source string) EventOption { return attribute{"source", source} }

// Type is what happened. By default the topic's name.
func Type(kind string) EventOption { return attribute{"type", kind} }

// Subject is what in the source it is about.
func Subject(subject string) EventOption { return attribute{"subject", subject} }

// Key: events of one key are delivered in order.
func Key(key string) EventOption { return attribute{"partitionkey", key} }

// ContentType is what the data is.
func ContentType(kind string) EventOption { return attribute{"datacontenttype", kind} }

// DataSchema is where the data's schema is.
func DataSchema(uri string) EventOption { return attribute{"dataschema", uri} }

type eventOption func(*Event)

func (o eventOption) event(e *Event)         { o(e) }
func (o eventOption) request(r *requestSaid) { o(&r.event) }

// Time is when it happened. By default now.
func Time(at time.Time) EventOption {
	return eventOption(func(e *Event) { e.Time, e.timeText = at, "" })
}

// Extension is an attribute of one's own: string, bool, int, int32, int64, []byte or time.Time. Its name has lower case letters and digits.
func Extension(name string, value any) EventOption {
	return eventOption(func(e *Event) { e.extend(name, value) })
}

// DeliverAt has it delivered at a time; the zero time: at once. Not for requests and replies.
func DeliverAt(at time.Time) EventOption { return eventOption(func(e *Event) { e.DeliverAt = at }) }

// DeliverAfter has it delivered when so long has passed, in whole milliseconds, rounded up; 0: at once. A negative one is INVALID. Not for
// requests and replies.
func DeliverAfter(delay time.Duration) EventOption {
	return eventOption(func(e *Event) { e.DeliverAfter = delay })
}

// ExpiresIn has it delivered no more when so long has passed, in whole milliseconds, rounded up; 0: it never expires. A negative one is
// INVALID. Not for requests and replies.
func ExpiresIn(in time.Duration) EventOption {
	return eventOption(func(e *Event) { e.ExpiresIn = in })
}

// CloudEvent is the shape of an event of the official SDK (github.com/cloudevents/sdk-go/v2), which is accepted wherever data is.
type CloudEvent interface {
	ID() string
	Source() string
	Type() string
	Subject() string
	Time() time.Time
	DataContentType() string
	DataSchema() string
	Extensions() map[string]any
	Data() []byte
}

// take reads what an event is made of: Data, Event, CloudEvent, []byte, string, or a value to write as JSON.
func (e *Event) take(from any) {
	switch from := from.(type) {
	case Data:
		e.Data = from
	case Event:
		*e = from
	case *Event:
		if from != nil {
			*e = *from
		}
	case []byte:
		e.Data = Bytes(from)
	case string:
		e.Data = Text(from)
	case nil:
	case CloudEvent:
		*e = Event{
			ID: from.ID(), Source: from.Source(), Type: from.Type(), Subject: from.Subject(), Time: from.Time(),
			ContentType: from.DataContentType(), DataSchema: from.DataSchema(), Extensions: from.Extensions(),
		}
		if key, ok := e.Extensions["partitionkey"].(string); ok {
			rest := make(map[string]any, len(e.Extensions))
			for name, value := range e.Extensions {
				if name != "partitionkey" {
					rest[name] = value
				}
			}
			e.Key, e.Extensions = key, rest
		}
		if data := from.Data(); data != nil {
			e.Data = Bytes(data)
			if kind := e.ContentType; kind == "application/json" || strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") {
				e.Data.kind = textData
			}
		}
	default:
		e.Data = JSON(from)
	}
	if e.Data.err != nil {
		e.err = e.Data.err
	}
}

func appendText(to []byte, text string) []byte {
	to = binary.LittleEndian.AppendUint32(to, uint32(len(text)))
	return append(to, text...)
}

func appendBytes(to []byte, bytes []byte) []byte {
	to = binary.LittleEndian.AppendUint32(to, uint32(len(bytes)))
	return append(to, bytes...)
}

// Kinds of attributes, as the library numbers them.
const (
	textAttribute uint32 = iota
	integerAttribute
	booleanAttribute
	timeAttribute
	binaryAttribute
	// extensionText is none of the attributes that every event may have.
	extensionText
)

func appendAttribute(to []byte, kind uint32, name string) []byte {
	return appendText(binary.LittleEndian.AppendUint32(to, kind), name)
}

func (e *Event) appendExtension(to []byte, name string, value any) ([]byte, error) {
	long := func(kind uint32, value int64) []byte {
		return binary.LittleEndian.AppendUint64(appendAttribute(to, kind, name), uint64(value))
	}
	switch value := value.(type) {
	case string:
		return appendText(appendAttribute(to, extensionText, name), value), nil
	case bool:
		if value {
			return long(booleanAttribute, 1), nil
		}
		return long(booleanAttribute, 0), nil
	case int:
		return long(integerAttribute, int64(value)), nil
	case int32:
		return long(integerAttribute, int64(value)), nil
	case int64:
		return long(integerAttribute, value), nil
	case []byte:
		return appendBytes(appendAttribute(to, binaryAttribute, name), value), nil
	case time.Time:
		return appendText(appendAttribute(to, extensionText, name), value.UTC().Format(time.RFC3339Nano)), nil
	case fmt.Stringer:
		return appendText(appendAttribute(to, extensionText, name), value.String()), nil
	default:
		return to, invalid("publish", fmt.Sprintf("attribute %s: a %T is none; string, bool, int, int32, int64, []byte and time.Time are", name, value), nil)
	}
}

// check says what cannot be packed.
func (d *Data) check() error {
	if d.err != nil {
		return invalid("publish", "the data cannot be written as JSON", d.err)
	}
	if uint64(len(d.bytes)) > math.MaxUint32/2 {
		return &Error{Code: CodeTooLarge, Number: numberOf(ErrTooLarge), Retry: RetryNever, Operation: "publish",
			Message: fmt.Sprintf("%d bytes of data are over any limit", len(d.bytes))}
	}
	return nil
}

// appendTo packs an event that says nothing beside its data.
func (d *Data) appendTo(to []byte) ([]byte, error) {
	if err := d.check(); err != nil {
		return to, err
	}
	// No attributes, and delivered at once, for ever.
	var head [4 + 4 + 3*8 + 4 + 4]byte
	binary.LittleEndian.PutUint32(head[0:], uint32(len(head)-4+len(d.bytes)))
	binary.LittleEndian.PutUint32(head[32:], d.kind)
	binary.LittleEndian.PutUint32(head[36:], uint32(len(d.bytes)))
	return append(append(to, head[:]...), d.bytes...), nil
}

// appendTo packs the event, as MW_PACKED has it.
func (e *Event) appendTo(to []byte) ([]byte, error) {
	data := e.Data
	if e.err != nil {
		data.err = e.err
	}
	if err := data.check(); err != nil {
		return to, err
	}
	begin := len(to)
	to = append(to, 0, 0, 0, 0, 0, 0, 0, 0)
	count := uint32(0)
	said := [...]attribute{
		{"id", e.ID}, {"source", e.Source}, {"type", e.Type}, {"subject", e.Subject}, {"partitionkey", e.Key},
		{"datacontenttype", e.ContentType}, {"dataschema", e.DataSchema}, {"time", e.timeText},
	}
	for _, one := range &said {
		if one.value != "" {
			to = appendText(appendAttribute(to, textAttribute, one.name), one.value)
			count++
		}
	}
	if !e.Time.IsZero() && e.timeText == "" {
		to = appendText(appendAttribute(to, textAttribute, "time"), e.Time.UTC().Format(time.RFC3339Nano))
		count++
	}
	for name, value := range e.Extensions {
		var err error
		if to, err = e.appendExtension(to, name, value); err != nil {
			return to[:begin], err
		}
		count++
	}
	at := int64(0)
	if !e.DeliverAt.IsZero() {
		at = e.DeliverAt.UnixMilli()
	}
	to = binary.LittleEndian.AppendUint64(to, uint64(at))
	to = binary.LittleEndian.AppendUint64(to, uint64(millis(e.DeliverAfter)))
	to = binary.LittleEndian.AppendUint64(to, uint64(millis(e.ExpiresIn)))
	to = appendBytes(binary.LittleEndian.AppendUint32(to, e.Data.kind), e.Data.bytes)
	binary.LittleEndian.PutUint32(to[begin:], uint32(len(to)-begin-4))
	binary.LittleEndian.PutUint32(to[begin+4:], count)
	return to, nil
}

// millis rounds away from zero, which mostly has a meaning of its own: a wait is never shorter than what was said, and what is negative
// stays so.
func millis(d time.Duration) int64 {
	whole := int64(d / time.Millisecond)
	switch rest := d % time.Millisecond; {
	case rest > 0:
		return whole + 1
	case rest < 0:
		return whole - 1
	}
	return whole
}
