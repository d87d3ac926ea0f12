// The Go client behind the testee protocol (conformance-tests/README.md): one JSON object a line in, one a line out.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

type object = map[string]any

var (
	said  sync.Mutex
	ended bool
	ctx   = context.Background()
)

// say prints a line.
func say(line object) {
	text, _ := json.Marshal(line)
	said.Lock()
	defer said.Unlock()
	if !ended {
		os.Stdout.Write(append(text, '\n'))
	}
}

// absent is what an op that names something absent answers: the case is wrong, not the client.
func absent(what string) error { return fmt.Errorf("the testee knows no %s", what) }

// named is what the runner gave names to.
type named[T any] struct {
	mu  sync.Mutex
	all map[string]T
}

func (n *named[T]) put(name string, value T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all == nil {
		n.all = map[string]T{}
	}
	n.all[name] = value
}

func (n *named[T]) get(name string, take bool) (T, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	value, ok := n.all[name]
	if !ok {
		return value, absent(name)
	}
	if take {
		delete(n.all, name)
	}
	return value, nil
}

// watched is a client, and what ends the telling of its states.
type watched struct {
	*meshwire.Client
	stop context.CancelFunc
}

var (
	clients  named[watched]
	lanes    named[*lane]
	servings named[*serving]
	streams  named[*meshwire.Replies]
	asked    named[context.CancelFunc]
	marks    named[time.Time]
)

func connect(c command) (any, error) {
	name := "testee"
	if c.ClientName != nil {
		name = *c.ClientName
	}
	options := []meshwire.ConnectOption{meshwire.ClientName(name)}
	given(&options, c.TimeoutMs, func(n int64) meshwire.ConnectOption { return meshwire.ConnectTimeout(ms(n)) })
	given(&options, c.WaitMs, func(n int64) meshwire.ConnectOption { return meshwire.ConnectWait(ms(n)) })
	given(&options, c.WindowEvents, func(n int) meshwire.ConnectOption { return meshwire.PublishWindow(n, 64<<20) })
	given(&options, c.ReconnectMs, func(of [2]int64) meshwire.ConnectOption { return meshwire.Reconnect(ms(of[0]), ms(of[1])) })
	if c.TLSRoots != "" {
		options = append(options, meshwire.TLSRoots(c.TLSRoots))
	}
	mesh, err := meshwire.Connect(ctx, c.URL, options...)
	if err != nil {
		return nil, err
	}
	watch, stop := context.WithCancel(ctx)
	told := make(chan struct{}, 1)
	go func() {
		for state := range mesh.States(watch) {
			say(object{"ev": "state", "on": c.As, "state": state})
			select {
			case told <- struct{}{}:
			default:
			}
		}
	}()
	<-told
	clients.put(c.As, watched{mesh, stop})
	return object{}, nil
}

func obey(c command) (any, error) {
	switch c.Op {
	case "hello":
		return object{"lang": "go", "api": "goroutines", "sdk": meshwire.LinkInfo().Version, "runtime": runtime.Version(), "caps": []string{
			"tcp", "iterator", "handler", "manual_ack", "confirmed", "admin", "dead_letters", "stats", "requests", "delays", "cancel"}}, nil
	case "connect":
		return connect(c)
	case "mark":
		marks.put(c.As, time.Now())
		return object{}, nil
	case "gate":
		l, err := lanes.get(c.On, false)
		if err == nil && c.Batch {
			err = l.batch(c.Open)
		} else if err == nil {
			l.gate(c.Open)
		}
		return object{}, err
	case "unsubscribe":
		l, err := lanes.get(c.On, true)
		if err == nil {
			l.left = c.Left
			l.stop()
			<-l.stopped
		}
		return object{}, err
	case "ack", "nack", "reject", "extend", "forget":
		return object{}, settle(c)
	case "stop_serving":
		s, err := servings.get(c.On, false)
		if err == nil {
			s.stop()
		}
		return object{}, err
	case "reply", "end":
		return object{}, answerRequest(c)
	case "next_reply":
		stream, err := streams.get(c.On, false)
		if err != nil {
			return nil, err
		}
		reply, err := stream.Next(ctx)
		if err != nil || reply == nil {
			return object{"end": true}, err
		}
		return message(&reply.Message), nil
	case "cancel":
		if stream, err := streams.get(c.On, true); err == nil {
			return object{}, stream.Close()
		}
		cancel, err := asked.get(c.On, true)
		if err == nil {
			cancel()
		}
		return object{}, err
	case "abandon":
		gone, err := clients.get(c.On, true)
		if err == nil {
			gone.stop()
		}
		return object{}, err
	}
	mesh, err := clients.get(c.On, false)
	if err != nil {
		return nil, err
	}
	return ask(mesh.Client, c)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<28)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			say(object{"id": c.ID, "err": object{"code": "UNKNOWN_COMMAND", "message": err.Error()}})
			continue
		}
		if c.Op == "exit" {
			say(object{"id": c.ID, "ok": object{}})
			said.Lock()
			ended = true
			os.Exit(0)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			answer := object{"id": c.ID}
			if ok, err := obey(c); err != nil {
				answer["err"] = problem(err)
			} else {
				answer["ok"] = ok
			}
			say(answer)
		}()
		// A goroutine begins when it likes: what the runner says next is to come behind this, unless this waits.
		select {
		case <-done:
		case <-time.After(3 * time.Millisecond):
		}
	}
}
