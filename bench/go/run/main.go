// Ours and theirs in alternating pairs, and the ratio of their medians.
//
//	go run . OURS THEIRS [PAIRS]
//
// OURS and THEIRS are the built programs of ../ours and ../theirs. It needs MESHWIRE_BIN (a release build), and nats-server in NATS_SERVER
// or on the path.
package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rings has room for all that is published: the newest events of a memory topic stay.
var rings = []string{"--memory-budget", "4GiB", "--memory-ring-bytes", "1GiB", "--memory-total-bytes", "2GiB"}

func meshwire() (string, func()) {
	gateway := exec.Command(os.Getenv("MESHWIRE_BIN"), append([]string{"serve", "--memory", "--listen", "127.0.0.1:0"}, rings...)...)
	out, err := gateway.StdoutPipe()
	if err == nil {
		err = gateway.Start()
	}
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "listening "); ok {
			return "mesh://" + address, func() { gateway.Process.Kill(); gateway.Wait() }
		}
	}
	log.Fatal("the gateway ended before it listened")
	return "", nil
}

func nats() (string, func()) {
	program := os.Getenv("NATS_SERVER")
	if program == "" {
		program = "nats-server"
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	folder, _ := os.MkdirTemp("", "nats")
	_, port, _ := net.SplitHostPort(address)
	server := exec.Command(program, "-js", "-a", "127.0.0.1", "-p", port, "-sd", folder)
	if err := server.Start(); err != nil {
		log.Fatal("skipped: needs nats-server: ", err)
	}
	for {
		if there, err := net.Dial("tcp", address); err == nil {
			there.Close()
			return "nats://" + address, func() { server.Process.Kill(); server.Wait(); os.RemoveAll(folder) }
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func measure(start func() (string, func()), program string, into map[string][]float64, words ...string) {
	url, stop := start()
	defer stop()
	if len(words) == 0 {
		words = []string{"both"}
	}
	said, err := exec.Command(program, append([]string{words[0], url}, words[1:]...)...).Output()
	if err != nil {
		log.Fatal(program, ": ", err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(said)), "\n") {
		name, value, _ := strings.Cut(line, " ")
		number, _ := strconv.ParseFloat(value, 64)
		into[name] = append(into[name], number)
	}
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

func main() {
	pairs := 5
	if len(os.Args) > 3 {
		pairs, _ = strconv.Atoi(os.Args[3])
	}
	ours, theirs := map[string][]float64{}, map[string][]float64{}
	for range pairs {
		measure(meshwire, os.Args[1], ours)
		measure(nats, os.Args[2], theirs)
	}
	for _, name := range []string{"publish", "receive"} {
		one, other := median(ours[name]), median(theirs[name])
		fmt.Printf("%-8s %9.0f events/s   nats.go %9.0f   %.2f times\n", name, one, other, one/other)
	}
	measure(meshwire, os.Args[1], ours, "round-trip", "5000")
	measure(meshwire, os.Args[1], ours, "slope", "1000000")
	fmt.Printf("round trip of a publish that is waited for %.0f us\nresident slope %.3f bytes a publish\n",
		median(ours["round-trip"]), median(ours["slope"]))
}
