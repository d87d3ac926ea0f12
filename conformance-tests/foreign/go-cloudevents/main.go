// The CloudEvents SDK for Go over HTTP.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
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
	Do, Mode, Gateway, CA, Topic string
	Count                        int
	Events                       []plain
}

var client = http.DefaultClient

// Whom to trust inside TLS: a file in PEM.
func trust(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(text)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities}, ForceAttemptHTTP2: true}
	client = &http.Client{Transport: transport}
	return nil
}

type plain struct {
	Attributes map[string]any    `json:"attributes"`
	Types      map[string]string `json:"types,omitempty"`
	Data       *data             `json:"data"`
}

type data struct {
	Text   *string `json:"text,omitempty"`
	JSON   *string `json:"json,omitempty"`
	Base64 *string `json:"base64,omitempty"`
}

type result struct {
	OK     bool   `json:"ok"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// `typed`: the format has types, bytes too.
func eventOf(p plain, typed bool) (event.Event, error) {
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
			if p.Types[name] == "binary" && typed {
				bytes, err := base64.StdEncoding.DecodeString(text)
				if err != nil {
					return e, err
				}
				value = bytes
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
func request(ctx context.Context, mode, gateway, topic string, events []event.Event) (*http.Request, error) {
	url := fmt.Sprintf("%s/v1/topics/%s/events", gateway, topic)
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
	req, err := request(context.Background(), mode, t.Gateway, t.Topic, events)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(req)
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

// An answer of HTTP in place of a WebSocket.
func refused(response *http.Response) (result, error) {
	defer response.Body.Close()
	var r result
	err := json.NewDecoder(response.Body).Decode(&r)
	return r, err
}

func publish(t task) ([]result, error) {
	var events []event.Event
	for _, p := range t.Events {
		e, err := eventOf(p, t.Mode == "ws-proto")
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	if t.Mode == "ws-proto" {
		return publishOverWebSocket(t, events)
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

// snippet: go-cloudevents-receive
func receive(ctx context.Context, gateway, topic string, each func(event.Event) bool) error {
	url := fmt.Sprintf("%s/v1/topics/%s/events?start=earliest", gateway, topic)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/x-ndjson")
	response, err := client.Do(req)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	// A stream of JSON objects; the blank lines between, which say that the gateway is there, mean nothing to it.
	deliveries := json.NewDecoder(response.Body)
	for {
		var delivery struct{ Event event.Event }
		if err := deliveries.Decode(&delivery); err != nil {
			return err
		}
		if !each(delivery.Event) {
			return nil
		}
	}
}

// snippet end

func plainOf(e event.Event) plain {
	p := plain{Attributes: map[string]any{"id": e.ID(), "source": e.Source(), "type": e.Type()}}
	for name, value := range e.Extensions() {
		p.Attributes[name] = value
	}
	optional := map[string]string{
		"subject": e.Subject(), "dataschema": e.DataSchema(), "datacontenttype": e.DataContentType(),
	}
	for name, text := range optional {
		if text != "" {
			p.Attributes[name] = text
		}
	}
	p.Attributes["time"] = e.Time().Format(time.RFC3339Nano)
	if e.Data() != nil {
		text := base64.StdEncoding.EncodeToString(e.Data())
		p.Data = &data{Base64: &text}
	}
	return p
}

func received(t task) ([]plain, error) {
	var events []plain
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := receive(ctx, t.Gateway, t.Topic, func(e event.Event) bool {
		events = append(events, plainOf(e))
		return len(events) < t.Count
	})
	return events, err
}

func carryOut(t task) (any, error) {
	if t.CA != "" && client == http.DefaultClient {
		if err := trust(t.CA); err != nil {
			return nil, err
		}
	}
	if t.Do == "receive" {
		events, err := received(t)
		return map[string]any{"events": events}, err
	}
	results, err := publish(t)
	return map[string]any{"results": results}, err
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var t task
		var answer any
		err := json.Unmarshal(lines.Bytes(), &t)
		if err == nil {
			answer, err = carryOut(t)
		}
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		_ = out.Encode(answer)
	}
}
