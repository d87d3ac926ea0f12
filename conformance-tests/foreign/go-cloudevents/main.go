// The CloudEvents SDK for Go over HTTP.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

type task struct {
	Mode, Address, Topic string
	Events               []plain
}

type plain struct {
	Attributes map[string]any
	Data       *struct{ Text, JSON, Base64 *string }
}

type result struct {
	OK     bool   `json:"ok"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
}

func eventOf(p plain) (event.Event, error) {
	e := event.New()
	for name, value := range p.Attributes {
		text, _ := value.(string)
		switch name {
		case "id":
			e.SetID(text)
		case "source":
			e.SetSource(text)
		case "type":
			e.SetType(text)
		case "subject":
			e.SetSubject(text)
		case "dataschema":
			e.SetDataSchema(text)
		case "datacontenttype":
			e.SetDataContentType(text)
		case "time":
			at, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				return e, err
			}
			e.SetTime(at)
		default:
			if number, ok := value.(float64); ok {
				value = int32(number)
			}
			e.SetExtension(name, value)
		}
	}
	if p.Data != nil {
		// The SDK's own field: SetData would write JSON anew, and knows few kinds of text.
		switch {
		case p.Data.JSON != nil:
			e.DataEncoded = []byte(*p.Data.JSON)
		case p.Data.Text != nil:
			e.DataEncoded = []byte(*p.Data.Text)
		case p.Data.Base64 != nil:
			data, err := base64.StdEncoding.DecodeString(*p.Data.Base64)
			if err != nil {
				return e, err
			}
			e.DataEncoded, e.DataBase64 = data, true
		}
	}
	return e, nil
}

// snippet: go-cloudevents
func request(ctx context.Context, mode, address, topic string, events []event.Event) (*http.Request, error) {
	url := fmt.Sprintf("http://%s/v1/topics/%s/events", address, topic)
	switch mode {
	case "batch":
		return cehttp.NewHTTPRequestFromEvents(ctx, url, events)
	case "structured":
		ctx = binding.WithForceStructured(ctx)
	}
	req, err := cehttp.NewHTTPRequestFromEvent(ctx, url, events[0])
	if err != nil {
		return nil, err
	}
	// The SDK leaves the percent-encoding of the HTTP binding to its user.
	for name, values := range req.Header {
		if strings.HasPrefix(strings.ToLower(name), "ce-") {
			req.Header[name] = []string{encoded(values[0])}
		}
	}
	return req, nil
}

// snippet end

func encoded(value string) string {
	var out strings.Builder
	for _, b := range []byte(value) {
		if b <= ' ' || b > '~' || b == '"' || b == '%' {
			fmt.Fprintf(&out, "%%%02X", b)
		} else {
			out.WriteByte(b)
		}
	}
	return out.String()
}

type answer struct {
	result
	Results []result
}

func send(mode string, t task, events []event.Event) ([]result, error) {
	req, err := request(context.Background(), mode, t.Address, t.Topic, events)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var a answer
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		return nil, err
	}
	results := a.Results
	if results == nil {
		results = []result{a.result}
	}
	for i := range results {
		results[i].OK = response.StatusCode == 200 && results[i].Code == ""
	}
	return results, nil
}

func publish(t task) ([]result, error) {
	var events []event.Event
	for _, p := range t.Events {
		e, err := eventOf(p)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	if t.Mode == "batch" {
		return send(t.Mode, t, events)
	}
	var results []result
	for _, e := range events {
		r, err := send(t.Mode, t, []event.Event{e})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.ID(), err)
		}
		results = append(results, r...)
	}
	return results, nil
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var t task
		err := json.Unmarshal(lines.Bytes(), &t)
		var results []result
		if err == nil {
			results, err = publish(t)
		}
		if err != nil {
			_ = out.Encode(map[string]string{"error": err.Error()})
			continue
		}
		_ = out.Encode(map[string]any{"results": results})
	}
}
