package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	format "github.com/cloudevents/sdk-go/binding/format/protobuf/v2"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/coder/websocket"
)

// snippet: go-cloudevents-websocket
// Protobuf over WebSocket: a message is an event. There are no answers: a refusal closes the connection, with 4000 + our code's number
// and a reason that begins with the code.
func open(ctx context.Context, gateway, topic string) (*websocket.Conn, *http.Response, error) {
	url := strings.Replace(gateway, "http", "ws", 1) + "/v1/topics/" + topic + "/events"
	options := &websocket.DialOptions{Subprotocols: []string{"cloudevents.proto"}, HTTPClient: client}
	return websocket.Dial(ctx, url, options)
}

func write(ctx context.Context, socket *websocket.Conn, e event.Event) error {
	message, err := format.Protobuf.Marshal(&e)
	if err != nil {
		return err
	}
	return socket.Write(ctx, websocket.MessageBinary, message)
}

// snippet end

// An event is kept when it comes back.
func publishOverWebSocket(t task, events []event.Event) ([]result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	socket, response, err := open(ctx, t.Gateway, t.Topic)
	if err != nil {
		if response == nil {
			return nil, err
		}
		// It was not opened: an answer of HTTP says why.
		r, err := refused(response)
		return []result{r}, err
	}
	defer socket.CloseNow()
	socket.SetReadLimit(16 << 20)
	var results []result
	for _, e := range events {
		if err := write(ctx, socket, e); err != nil {
			return nil, err
		}
		_, _, err := socket.Read(ctx)
		var closed websocket.CloseError
		switch {
		case errors.As(err, &closed):
			code, _, _ := strings.Cut(closed.Reason, ":")
			return append(results, result{Code: code, Detail: closed.Error()}), nil
		case err != nil:
			return nil, err
		}
		results = append(results, result{OK: true})
	}
	return results, nil
}
