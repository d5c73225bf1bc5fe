module github.com/arw-project/arw/host/internal/egress/peers

go 1.26.0

replace github.com/arw-project/arw => ../../../..

require (
	code.dny.dev/ssrf v0.3.0
	github.com/arw-project/arw v0.0.0-00010101000000-000000000000
	github.com/doyensec/safeurl v0.2.2
	github.com/miekg/dns v1.1.73
)

require (
	github.com/coder/websocket v1.8.15 // indirect
	github.com/dustin/go-humanize v1.1.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/ncruces/go-strftime v1.1.0 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	modernc.org/libc v1.80.1 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
	modernc.org/sqlite v1.62.0 // indirect
)
