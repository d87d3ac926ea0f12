// grpc-go, with stubs that its own tools make of our .proto files.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"meshwire.example/foreign/go-grpc/stubs/cloudevents"
	"meshwire.example/foreign/go-grpc/stubs/meshwire"
)

// Longest that a call takes.
const patience = 20 * time.Second

type task struct {
	Do, Mode, Address, CA, Topic string
	Count                        int
	Events                       []plain
}

type result struct {
	OK     bool   `json:"ok"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// snippet: go-grpc
func publish(ctx context.Context, mesh meshwire.MeshClient, topic string, event *cloudevents.CloudEvent) error {
	_, err := mesh.Publish(ctx, &meshwire.PublishRequest{Topic: topic, Event: event})
	return err
}

// The code of our error catalogue, out of the status details.
func code(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == "meshwire" {
			return info.Reason
		}
	}
	return ""
}

// snippet end

func refused(err error) result {
	return result{Code: code(err), Detail: status.Convert(err).Message()}
}

func unary(ctx context.Context, mesh meshwire.MeshClient, t task, events []*cloudevents.CloudEvent) []result {
	var results []result
	for _, event := range events {
		if err := publish(ctx, mesh, t.Topic, event); err != nil {
			results = append(results, refused(err))
		} else {
			results = append(results, result{OK: true})
		}
	}
	return results
}

func batch(ctx context.Context, mesh meshwire.MeshClient, t task, events []*cloudevents.CloudEvent) []result {
	answer, err := mesh.PublishBatch(ctx, &meshwire.PublishBatchRequest{Topic: t.Topic, Events: events})
	if err != nil {
		return []result{refused(err)}
	}
	var results []result
	for _, r := range answer.Results {
		results = append(results, result{OK: r.Error == nil, Code: r.Error.GetCode(), Detail: r.Error.GetDetail()})
	}
	return results
}

// Without a group: every event comes, and there is nothing to settle.
func receive(ctx context.Context, mesh meshwire.MeshClient, t task) ([]plain, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := &meshwire.Start{At: &meshwire.Start_Earliest{Earliest: true}}
	call, err := mesh.Subscribe(ctx, &meshwire.SubscribeRequest{Topic: t.Topic, Start: start})
	if err != nil {
		return nil, err
	}
	var events []plain
	for len(events) < t.Count {
		deliveries, err := call.Recv()
		if err != nil {
			return nil, err
		}
		for _, d := range deliveries.Deliveries {
			events = append(events, plainOf(d.Event))
		}
	}
	return events, nil
}

func carryOut(t task) (any, error) {
	limit := grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16 << 20))
	security := insecure.NewCredentials()
	if t.CA != "" {
		trusting, err := credentials.NewClientTLSFromFile(t.CA, "")
		if err != nil {
			return nil, err
		}
		security = trusting
	}
	channel, err := grpc.NewClient(t.Address, grpc.WithTransportCredentials(security), limit)
	if err != nil {
		return nil, err
	}
	defer channel.Close()
	mesh := meshwire.NewMeshClient(channel)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if t.Do == "receive" {
		events, err := receive(ctx, mesh, t)
		return map[string]any{"events": events}, err
	}
	var events []*cloudevents.CloudEvent
	for _, p := range t.Events {
		event, err := eventOf(p)
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	if t.Mode == "grpc-batch" {
		return map[string]any{"results": batch(ctx, mesh, t, events)}, nil
	}
	return map[string]any{"results": unary(ctx, mesh, t, events)}, nil
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

type plain struct {
	Attributes map[string]any    `json:"attributes"`
	Types      map[string]string `json:"types"`
	Data       *data             `json:"data"`
}

type data struct {
	Text   *string `json:"text,omitempty"`
	JSON   *string `json:"json,omitempty"`
	Base64 *string `json:"base64,omitempty"`
}

type value = cloudevents.CloudEvent_CloudEventAttributeValue

func eventOf(p plain) (*cloudevents.CloudEvent, error) {
	event := &cloudevents.CloudEvent{SpecVersion: "1.0", Attributes: map[string]*value{}}
	for name, attribute := range p.Attributes {
		text, _ := attribute.(string)
		switch name {
		case "id":
			event.Id = text
		case "source":
			event.Source = text
		case "type":
			event.Type = text
		default:
			v, err := valueOf(attribute, text, p.Types[name])
			if err != nil {
				return nil, err
			}
			event.Attributes[name] = v
		}
	}
	if p.Data == nil {
		return event, nil
	}
	switch {
	case p.Data.Text != nil:
		event.Data = &cloudevents.CloudEvent_TextData{TextData: *p.Data.Text}
	case p.Data.JSON != nil:
		event.Data = &cloudevents.CloudEvent_TextData{TextData: *p.Data.JSON}
	case p.Data.Base64 != nil:
		bytes, err := base64.StdEncoding.DecodeString(*p.Data.Base64)
		if err != nil {
			return nil, err
		}
		event.Data = &cloudevents.CloudEvent_BinaryData{BinaryData: bytes}
	}
	return event, nil
}

func valueOf(attribute any, text, kind string) (*value, error) {
	switch attribute := attribute.(type) {
	case bool:
		return &value{Attr: &cloudevents.CloudEvent_CloudEventAttributeValue_CeBoolean{CeBoolean: attribute}}, nil
	case float64:
		return &value{Attr: &cloudevents.CloudEvent_CloudEventAttributeValue_CeInteger{CeInteger: int32(attribute)}}, nil
	}
	switch kind {
	case "timestamp":
		at, err := time.Parse(time.RFC3339Nano, text)
		stamp := timestamppb.New(at)
		return &value{Attr: &cloudevents.CloudEvent_CloudEventAttributeValue_CeTimestamp{CeTimestamp: stamp}}, err
	case "binary":
		bytes, err := base64.StdEncoding.DecodeString(text)
		return &value{Attr: &cloudevents.CloudEvent_CloudEventAttributeValue_CeBytes{CeBytes: bytes}}, err
	case "uri":
		return &value{Attr: &cloudevents.CloudEvent_CloudEventAttributeValue_CeUri{CeUri: text}}, nil
	case "":
		return &value{Attr: &cloudevents.CloudEvent_CloudEventAttributeValue_CeString{CeString: text}}, nil
	}
	return nil, errors.New("no such type: " + kind)
}

func plainOf(event *cloudevents.CloudEvent) plain {
	p := plain{
		Attributes: map[string]any{"id": event.Id, "source": event.Source, "type": event.Type},
		Types:      map[string]string{},
	}
	for name, v := range event.Attributes {
		switch attribute := v.Attr.(type) {
		case *cloudevents.CloudEvent_CloudEventAttributeValue_CeBoolean:
			p.Attributes[name] = attribute.CeBoolean
		case *cloudevents.CloudEvent_CloudEventAttributeValue_CeInteger:
			p.Attributes[name] = attribute.CeInteger
		case *cloudevents.CloudEvent_CloudEventAttributeValue_CeString:
			p.Attributes[name] = attribute.CeString
		case *cloudevents.CloudEvent_CloudEventAttributeValue_CeBytes:
			p.Attributes[name], p.Types[name] = base64.StdEncoding.EncodeToString(attribute.CeBytes), "binary"
		case *cloudevents.CloudEvent_CloudEventAttributeValue_CeUri:
			p.Attributes[name], p.Types[name] = attribute.CeUri, "uri"
		case *cloudevents.CloudEvent_CloudEventAttributeValue_CeUriRef:
			p.Attributes[name], p.Types[name] = attribute.CeUriRef, "uri-reference"
		case *cloudevents.CloudEvent_CloudEventAttributeValue_CeTimestamp:
			at := attribute.CeTimestamp.AsTime()
			p.Attributes[name], p.Types[name] = at.Format(time.RFC3339Nano), "timestamp"
		}
	}
	switch d := event.Data.(type) {
	case *cloudevents.CloudEvent_BinaryData:
		text := base64.StdEncoding.EncodeToString(d.BinaryData)
		p.Data = &data{Base64: &text}
	case *cloudevents.CloudEvent_TextData:
		p.Data = &data{Text: &d.TextData}
	}
	return p
}
