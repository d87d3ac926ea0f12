package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

// command is what the runner can ask for; what is absent is left to the client.
type command struct {
	ID           json.Number      `json:"id"`
	Op           string           `json:"op"`
	On           string           `json:"on"`
	As           string           `json:"as"`
	URL          string           `json:"url"`
	ClientName   *string          `json:"client_name"`
	TimeoutMs    *int64           `json:"timeout_ms"`
	WaitMs       *int64           `json:"wait_ms"`
	WindowEvents *int             `json:"window_events"`
	ReconnectMs  *[2]int64        `json:"reconnect_ms"`
	TLSRoots     string           `json:"tls_roots"`
	Topic        string           `json:"topic"`
	Event        spec             `json:"event"`
	Events       []spec           `json:"events"`
	DeliverAt    *time.Time       `json:"deliver_at"`
	DeliverAfter *int64           `json:"deliver_after_ms"`
	ExpiresIn    *int64           `json:"expires_in_ms"`
	Group        *string          `json:"group"`
	Broadcast    bool             `json:"broadcast"`
	Member       *string          `json:"member"`
	Start        json.RawMessage  `json:"start"`
	To           json.RawMessage  `json:"to"`
	Prefetch     *[2]int64        `json:"prefetch"`
	Concurrency  *int             `json:"concurrency"`
	Gate         *int             `json:"gate"`
	Left         bool             `json:"left"`
	Open         int              `json:"open"`
	Settings     settings         `json:"settings"`
	N            []int            `json:"n"`
	Confirmed    bool             `json:"confirmed"`
	DelayMs      *int64           `json:"delay_ms"`
	Reason       *string          `json:"reason"`
	Force        bool             `json:"force"`
	Durability   string           `json:"durability"`
	RetentionMs  *meshwire.Millis `json:"retention_ms"`
	Retention    *int64           `json:"retention_bytes"`
	Lagging      string           `json:"lagging"`
	Retry        bool             `json:"retry"`
	Credit       *int             `json:"credit"`
	Numbers      []uint64         `json:"numbers"`
	DeadlineMs   int64            `json:"deadline_ms"`
}

type settings struct {
	AckWaitMs   *meshwire.Millis    `json:"ack_wait_ms"`
	MaxFailures *uint32             `json:"max_failures"`
	BackoffMs   *[2]meshwire.Millis `json:"backoff_ms"`
	Hold        *bool               `json:"hold_after_dead_letter"`
	StrictOrder *bool               `json:"strict_order"`
	MaxInFlight *uint32             `json:"max_in_flight"`
	MaxRate     *uint32             `json:"max_rate"`
}

func (c command) reason() string {
	if c.Reason == nil {
		return ""
	}
	return *c.Reason
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func (s settings) group() meshwire.GroupSettings {
	all := meshwire.GroupSettings{AckWait: s.AckWaitMs, MaxFailures: s.MaxFailures, HoldAfterDeadLetter: s.Hold,
		StrictOrder: s.StrictOrder, MaxInFlight: s.MaxInFlight, MaxRate: s.MaxRate}
	if s.BackoffMs != nil {
		all.BackoffMin, all.BackoffMax = &s.BackoffMs[0], &s.BackoffMs[1]
	}
	return all
}

func place(said json.RawMessage) (meshwire.Position, error) {
	var word string
	if json.Unmarshal(said, &word) == nil {
		return meshwire.Position(word), nil
	}
	var of struct {
		Position *uint64 `json:"position"`
		AgoMs    *int64  `json:"ago_ms"`
		Mark     string  `json:"mark"`
	}
	if err := json.Unmarshal(said, &of); err != nil {
		return "", err
	}
	switch {
	case of.Position != nil:
		return meshwire.At(*of.Position), nil
	case of.AgoMs != nil:
		return meshwire.AtTime(time.Now().Add(-ms(*of.AgoMs))), nil
	}
	at, err := marks.get(of.Mark, false)
	return meshwire.AtTime(at), err
}

func (c command) subscription() ([]meshwire.SubscribeOption, error) {
	var all []meshwire.SubscribeOption
	if c.Group != nil {
		all = append(all, meshwire.Group(*c.Group))
	}
	if c.Broadcast {
		all = append(all, meshwire.Broadcast())
	}
	if c.Member != nil {
		all = append(all, meshwire.Member(*c.Member))
	}
	if len(c.Start) > 0 && string(c.Start) != "null" {
		at, err := place(c.Start)
		if err != nil {
			return nil, err
		}
		all = append(all, meshwire.Option("start", string(at)))
	}
	if c.Prefetch != nil {
		all = append(all, meshwire.Prefetch(int(c.Prefetch[0]), c.Prefetch[1]))
	}
	s := c.Settings
	if s.AckWaitMs != nil {
		all = append(all, meshwire.AckWait(s.AckWaitMs.Duration()))
	}
	if s.MaxFailures != nil {
		all = append(all, meshwire.MaxFailures(int(*s.MaxFailures)))
	}
	if s.BackoffMs != nil {
		all = append(all, meshwire.Backoff(s.BackoffMs[0].Duration(), s.BackoffMs[1].Duration()))
	}
	if s.Hold != nil {
		all = append(all, meshwire.Option("hold_after_dead_letter", fmt.Sprint(*s.Hold)))
	}
	if s.StrictOrder != nil {
		all = append(all, meshwire.Option("strict_order", fmt.Sprint(*s.StrictOrder)))
	}
	if s.MaxInFlight != nil {
		all = append(all, meshwire.MaxInFlight(int(*s.MaxInFlight)))
	}
	if s.MaxRate != nil {
		all = append(all, meshwire.MaxRate(int(*s.MaxRate)))
	}
	return all, nil
}

// spec is an event to publish.
type spec struct {
	ID         string          `json:"id"`
	Source     string          `json:"source"`
	Type       string          `json:"type"`
	Key        string          `json:"key"`
	Subject    string          `json:"subject"`
	Attributes object          `json:"attributes"`
	Data       *string         `json:"data"`
	JSON       json.RawMessage `json:"json"`
	DataB64    []byte          `json:"data_b64"`
	Zeros      *int            `json:"zeros"`
}

func (s spec) event() meshwire.Event {
	e := meshwire.Event{ID: s.ID, Source: s.Source, Type: s.Type, Key: s.Key, Subject: s.Subject, Extensions: object{}}
	for name, value := range s.Attributes {
		switch value := value.(type) {
		case float64:
			e.Extensions[name] = int64(value)
		case string:
			switch name {
			case "subject", "time", "datacontenttype", "dataschema":
				e.Set(name, value)
			default:
				e.Extensions[name] = value
			}
		default:
			e.Extensions[name] = value
		}
	}
	switch {
	case s.Data != nil:
		e.Data = meshwire.Text(*s.Data)
	case len(s.JSON) > 0:
		e.Data = meshwire.JSON(s.JSON)
	case s.DataB64 != nil:
		e.Data = meshwire.Bytes(s.DataB64)
	case s.Zeros != nil:
		e.Data = meshwire.Bytes(make([]byte, *s.Zeros))
	}
	return e
}

// message is an event that came.
func message(m *meshwire.Message) object {
	attributes := object{}
	for name, value := range m.Attributes() {
		attributes[name] = value
	}
	line := object{"id": m.ID, "source": m.Source, "type": m.Type, "attributes": attributes}
	switch {
	case !m.HasData:
	case len(m.Data) > 1024:
		line["data_bytes"] = len(m.Data)
	case m.IsText:
		line["data"] = m.Text()
	default:
		line["data_b64"] = base64.StdEncoding.EncodeToString(m.Data)
	}
	return line
}

func problem(err error) object {
	var e *meshwire.Error
	if !errors.As(err, &e) {
		return object{"code": "TESTEE", "message": err.Error()}
	}
	return object{"code": e.Code, "num": e.Number, "retry": e.Retry, "operation": e.Operation, "message": e.Error()}
}
