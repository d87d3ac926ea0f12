module bench-run

go 1.24
