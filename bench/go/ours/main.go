// Publishes and receives by Meshwire, and prints events a second.
//
//	go run . publish|receive|both|blocking|round-trip|slope URL [EVENTS]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

// Bytes of an event, how many are in flight, and how many are asked for at once.
const (
	size   = 256
	window = 1024
	batch  = 256
)

var ctx = context.Background()

func fine(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func rate(events int, begun time.Time) float64 { return float64(events) / time.Since(begun).Seconds() }

// publish has so many publishes on their way at once.
func publish(mesh *meshwire.Client, topic string, events int) float64 {
	payload := make([]byte, size)
	var pending [window]*meshwire.Pending
	begun := time.Now()
	for n := range events + window {
		place := &pending[n%window]
		if *place != nil {
			_, err := (*place).Receipt(ctx)
			fine(err)
			*place = nil
		}
		if n < events {
			var err error
			*place, err = mesh.PublishAsync(ctx, topic, meshwire.Bytes(payload))
			fine(err)
		}
	}
	return rate(events, begun)
}

// blocking has as many goroutines, each of which waits for its receipts.
func blocking(mesh *meshwire.Client, topic string, events int) float64 {
	payload := make([]byte, size)
	var wait sync.WaitGroup
	begun := time.Now()
	for range window {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for range events / window {
				_, err := mesh.Publish(ctx, topic, meshwire.Bytes(payload))
				fine(err)
			}
		}()
	}
	wait.Wait()
	return rate(events/window*window, begun)
}

func receive(mesh *meshwire.Client, topic string, events int) float64 {
	sub, err := mesh.Subscribe(ctx, topic, meshwire.Group("bench"), meshwire.StartEarliest(), meshwire.Prefetch(window, 8<<20))
	fine(err)
	begun, left := time.Now(), events
	for left > 0 {
		deliveries, err := sub.NextBatch(ctx, batch)
		fine(err)
		for _, d := range deliveries {
			if len(d.Data) != size {
				log.Fatal("other data")
			}
			fine(d.Ack())
		}
		left -= len(deliveries)
	}
	return rate(events, begun)
}

// roundTrip is the microseconds of a publish that is waited for, in the middle.
func roundTrip(mesh *meshwire.Client, topic string, events int) float64 {
	times := make([]time.Duration, events)
	for at := range times {
		begun := time.Now()
		_, err := mesh.Publish(ctx, topic, meshwire.Bytes(make([]byte, size)))
		fine(err)
		times[at] = time.Since(begun)
	}
	slices.Sort(times)
	return float64(times[events/2].Nanoseconds()) / 1000
}

// resident is the bytes of this process.
func resident() int {
	// What is garbage is not held.
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	fine(err)
	var all, here int
	fmt.Sscan(string(text), &all, &here)
	return here * os.Getpagesize()
}

func main() {
	what, url, events := os.Args[1], os.Args[2], 300_000
	if len(os.Args) > 3 {
		var err error
		events, err = strconv.Atoi(os.Args[3])
		fine(err)
	}
	mesh, err := meshwire.Connect(ctx, url)
	fine(err)
	defer mesh.Close()
	topic := fmt.Sprintf("bench-%d", time.Now().UnixNano())
	_, err = mesh.Topics().Create(ctx, topic, meshwire.TopicSettings{Durability: "memory", RetentionBytes: meshwire.Ptr(int64(1 << 30))})
	fine(err)
	switch what {
	case "round-trip":
		fmt.Printf("round-trip %.0f\n", roundTrip(mesh, topic, events))
	case "blocking":
		fmt.Printf("blocking %.0f\n", blocking(mesh, topic, events))
	case "slope":
		publish(mesh, topic, events/5)
		before := resident()
		publish(mesh, topic, events-events/5)
		fmt.Printf("slope %.3f\n", float64(resident()-before)/float64(events-events/5))
	default:
		if published := publish(mesh, topic, events); what != "receive" {
			fmt.Printf("publish %.0f\n", published)
		}
		if what != "publish" {
			fmt.Printf("receive %.0f\n", receive(mesh, topic, events))
		}
	}
}
