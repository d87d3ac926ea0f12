module meshwire-testee-go

go 1.24
