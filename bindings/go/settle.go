package meshwire

import (
	"sync"
	"time"

	"github.com/meshwire/meshwire-go/internal/native"
)

// settles collects acks, so that many cross to the library in one call. None is older than settleAge when it does.
type settles struct {
	core  *core
	mu    sync.Mutex
	acks  []native.Handle
	spare []native.Handle
	timer *time.Timer
	// armed: the timer runs.
	armed bool
}

const (
	// settleAge keeps them far below the time that a lease has, and is much for a program.
	settleAge = 2 * time.Millisecond
	// settleMost is about a batch.
	settleMost = 256
)

// ack has a delivery settled soon.
func (s *settles) ack(delivery native.Handle) {
	s.mu.Lock()
	s.acks = append(s.acks, delivery)
	if len(s.acks) >= settleMost {
		s.send()
		return
	}
	if !s.armed {
		s.armed = true
		if s.timer == nil {
			s.timer = time.AfterFunc(settleAge, s.flush)
		} else {
			s.timer.Reset(settleAge)
		}
	}
	s.mu.Unlock()
}

// flush sends what is there.
func (s *settles) flush() {
	s.mu.Lock()
	s.armed = false
	if s.timer != nil {
		s.timer.Stop()
	}
	s.send()
}

// send sends what is there, and unlocks.
func (s *settles) send() {
	acks := s.acks
	s.acks, s.spare = s.spare[:0], nil
	s.mu.Unlock()
	if len(acks) > 0 {
		// What was settled before is a mistake of the program that was told to it; what cannot be sent any more comes again.
		native.SettleMany(acks, native.Ack, -1, "")
	}
	s.mu.Lock()
	s.spare = acks
	s.mu.Unlock()
}
