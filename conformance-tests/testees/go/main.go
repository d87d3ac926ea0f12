// The Go client behind the testee protocol (conformance-tests/README.md): one JSON object a line in, one a line out.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

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

// failure is an error on its way to the answer of its command.
type failure struct{ error }

func check(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func try[T any](value T, err error) T {
	check(err)
	return value
}

// done is the answer of a command that gives nothing.
func done(err error) any {
	check(err)
	return object{}
}

// absent is what a command that names something absent answers: the case is wrong, not the client.
func absent(what string) error { return fmt.Errorf("the testee knows no %s", what) }

// problem tells of an error; nil: there is none.
func problem(err error) any {
	var e *meshwire.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return object{"code": e.Code, "num": e.Number, "retry": e.Retry, "operation": e.Operation, "message": e.Error()}
	}
	return object{"code": "TESTEE", "message": err.Error()}
}

// What the runner gave names to: clients, lanes, servings, requests and streams, and moments.
var clients, lanes, servings, asked, marks sync.Map

func get[T any](from *sync.Map, name any) T {
	value, _ := from.Load(name)
	found, ok := value.(T)
	if !ok {
		check(absent(fmt.Sprint(name)))
	}
	return found
}

func take[T any](from *sync.Map, name any) T {
	defer from.Delete(name)
	return get[T](from, name)
}

var verbs = map[string]func(command) any{
	"hello": command.hello, "connect": command.connect, "state": command.state, "stats": command.stats, "mark": command.mark,
	"drain": command.drain, "close": command.close, "abandon": command.abandon,
	"publish": command.publish, "publish_batch": command.publishBatch, "flush": command.flush,
	"subscribe": command.subscribe, "consume": command.consume, "gate": command.gate, "unsubscribe": command.unsubscribe,
	"ack": command.settle, "nack": command.settle, "reject": command.settle, "extend": command.settle, "forget": command.settle,
	"serve": command.serve, "reply": command.reply, "end": command.end, "stop_serving": command.stopServing,
	"request": command.request, "request_stream": command.requestStream, "next_reply": command.nextReply, "cancel": command.cancel,
	"topics": command.topics, "create_topic": command.createTopic, "update_topic": command.updateTopic, "delete_topic": command.deleteTopic,
	"groups": command.groups, "create_group": command.createGroup, "update_group": command.updateGroup,
	"seek_group": command.seekGroup, "delete_group": command.deleteGroup,
	"dead_letters": command.deadLetters, "dead_letter": command.deadLetter, "redrive": command.redrive, "purge": command.purge,
}

// obey answers a command.
func obey(c command) {
	answer := object{"id": c["id"]}
	defer func() {
		switch wrong := recover().(type) {
		case nil:
		case failure:
			answer["err"] = problem(wrong.error)
		default:
			panic(wrong)
		}
		say(answer)
	}()
	verb := verbs[c.text("op")]
	if verb == nil {
		check(absent("command " + c.text("op")))
	}
	answer["ok"] = verb(c)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<28)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			say(object{"id": c["id"], "err": object{"code": "UNKNOWN_COMMAND", "message": err.Error()}})
		} else if c.text("op") == "exit" {
			say(object{"id": c["id"], "ok": object{}})
			said.Lock()
			ended = true
			os.Exit(0)
		} else {
			go obey(c)
		}
	}
}
