package netguard_test

import (
	"net/netip"
	"testing"

	"github.com/arw-project/arw/host/internal/netguard"
)

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := netguard.Parse("https://api.example.com/v1/items?page=2"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	a := netguard.NewAddresses(nil)
	for _, bc := range []struct{ name, ip string }{{"v4", "93.184.216.34"}, {"v6", "2606:2800:220:1::1"}} {
		ip := netip.MustParseAddr(bc.ip)
		b.Run(bc.name, func(b *testing.B) {
			for b.Loop() {
				if !a.Judge(ip).OK() {
					b.Fatal("refused")
				}
			}
		})
	}
}
