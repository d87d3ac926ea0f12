// The same by nats.go: JetStream with memory storage, asynchronous publish, pull fetch with acks.
//
//	go run . both URL [EVENTS]
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	size   = 256
	window = 1024
)

func fine(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func rate(events int, begun time.Time) float64 { return float64(events) / time.Since(begun).Seconds() }

func main() {
	url, events := os.Args[2], 300_000
	if len(os.Args) > 3 {
		var err error
		events, err = strconv.Atoi(os.Args[3])
		fine(err)
	}
	client, err := nats.Connect(url)
	fine(err)
	defer client.Close()
	stream, err := client.JetStream(nats.PublishAsyncMaxPending(window + 1))
	fine(err)
	name := fmt.Sprintf("bench%d", time.Now().UnixNano())
	_, err = stream.AddStream(&nats.StreamConfig{Name: name, Subjects: []string{name}, Storage: nats.MemoryStorage})
	fine(err)
	payload := make([]byte, size)
	var pending [window]nats.PubAckFuture
	begun := time.Now()
	for n := range events + window {
		place := &pending[n%window]
		if *place != nil {
			select {
			case <-(*place).Ok():
			case err := <-(*place).Err():
				fine(err)
			}
			*place = nil
		}
		if n < events {
			*place, err = stream.PublishAsync(name, payload)
			fine(err)
		}
	}
	fmt.Printf("publish %.0f\n", rate(events, begun))
	// Below what is fetched, each fetch would wait for acks that come behind it.
	sub, err := stream.PullSubscribe(name, "bench", nats.MaxAckPending(window))
	fine(err)
	begun = time.Now()
	for left := events; left > 0; {
		messages, err := sub.Fetch(min(window, left))
		fine(err)
		for _, message := range messages {
			if len(message.Data) != size {
				log.Fatal("other data")
			}
			fine(message.Ack())
		}
		left -= len(messages)
	}
	fmt.Printf("receive %.0f\n", rate(events, begun))
}
