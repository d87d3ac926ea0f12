module bench-ours

go 1.24
