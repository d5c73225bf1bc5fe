package signing

import (
	"crypto/x509"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// Authority is one party that a trusted root trusts.
type Authority struct {
	Kind    string     `json:"kind"` // ca, ct, log or timestamp
	URI     string     `json:"uri,omitempty"`
	ID      string     `json:"id,omitempty"`  // of a log, hex
	Key     string     `json:"key,omitempty"` // its kind
	Subject string     `json:"subject,omitempty"`
	From    *time.Time `json:"from,omitempty"`
	Until   *time.Time `json:"until,omitempty"`
}

// DescribeRoot lists whom a trusted_root.json trusts: certificate authorities, their logs, transparency logs, timestamp
// authorities, in this order. Errors: Invalid.
func DescribeRoot(text []byte) ([]Authority, error) {
	m, err := parseTrustedRoot(text)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read trusted root: %w", err).WithHint("it is Sigstore's trusted_root.json")
	}
	out := []Authority{}
	for _, ca := range m.FulcioCertificateAuthorities() {
		a := Authority{Kind: "ca"}
		if f, ok := ca.(*root.FulcioCertificateAuthority); ok {
			a.URI, a.Subject = clean(f.URI), subjectName(f.Root)
			a.From, a.Until = moment(f.ValidityPeriodStart), moment(f.ValidityPeriodEnd)
		}
		out = append(out, a)
	}
	out = append(out, describeLogs("ct", m.CTLogs())...)
	out = append(out, describeLogs("log", m.RekorLogs())...)
	for _, tsa := range m.TimestampingAuthorities() {
		a := Authority{Kind: "timestamp"}
		if t, ok := tsa.(*root.SigstoreTimestampingAuthority); ok {
			a.URI, a.Subject = clean(t.URI), subjectName(t.Leaf)
			a.From, a.Until = moment(t.ValidityPeriodStart), moment(t.ValidityPeriodEnd)
		}
		out = append(out, a)
	}
	return out, nil
}

func describeLogs(kind string, logs map[string]*root.TransparencyLog) []Authority {
	var out []Authority
	for _, id := range slices.Sorted(maps.Keys(logs)) {
		log := logs[id]
		out = append(out, Authority{Kind: kind, URI: clean(log.BaseURL), ID: hex.EncodeToString(log.ID), Key: kindOf(log.PublicKey),
			From: moment(log.ValidityPeriodStart), Until: moment(log.ValidityPeriodEnd)})
	}
	return out
}

func subjectName(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	return clean(c.Subject.String())
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
