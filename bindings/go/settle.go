package meshwire

import (
	"sync"
	"time"

	"github.com/meshwire/meshwire-go/internal/native"
)

// settles collects acks, so that many cross to the library in one call. None is older than settleAge when it does.
type settles struct {
	// cross has them cross.
	cross func(acks []native.Handle)
	// sending is held while some cross, and locked before mu.
	sending sync.Mutex

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

func ackMany(acks []native.Handle) {
	// What was settled before is a mistake of the program that was told to it; what cannot be sent any more comes again.
	native.SettleMany(acks, native.Ack, -1, "")
}

// ack has a delivery settled soon.
func (s *settles) ack(delivery native.Handle) {
	s.mu.Lock()
	s.acks = append(s.acks, delivery)
	// An ack does not wait for others to cross: it goes with the next one then, or with the timer.
	if len(s.acks) >= settleMost && s.sending.TryLock() {
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

// flush sends what is there. When it returns, what was acked before has crossed, whoever sent it: what ends a subscription behind it would
// have failed it.
func (s *settles) flush() {
	s.sending.Lock()
	s.mu.Lock()
	s.armed = false
	if s.timer != nil {
		s.timer.Stop()
	}
	s.send()
}

// send sends what is there, and unlocks both.
func (s *settles) send() {
	defer s.sending.Unlock()
	acks := s.acks
	s.acks, s.spare = s.spare[:0], nil
	s.mu.Unlock()
	if len(acks) > 0 {
		s.cross(acks)
	}
	s.mu.Lock()
	s.spare = acks
	s.mu.Unlock()
}
