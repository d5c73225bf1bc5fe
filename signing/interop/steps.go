package main

import "strings"

// steps are the run, in order. What a later one reads an earlier one wrote.
func steps() []step {
	const (
		push     = "arw pack push $PACK --json --to "
		sign     = "arw pack sign $REF:0.1.0 --registry "
		keyless  = " --keyless --signing-config $SC --trusted-root $TR"
		token    = " --identity-token-file $TOKEN"
		test     = "arw trust test $REF:0.1.0 --registry "
		policy   = " --policy $W/"
		cosignV  = "cosign verify --allow-http-registry --trusted-root $TR "
		cosignVA = "cosign verify-attestation --allow-http-registry --trusted-root $TR "
		at       = "/$REF@$DIGEST"
		services = " --signing-config $SC --trusted-root $TR"
	)
	byOther := strings.Replace(byIdentity, who, "eve@acme.example", 1)
	byIssuer := strings.Replace(byIdentity, issuer, "https://token.example", 1)
	return []step{
		{group: "Set-up", what: "`arw key generate`, twice", argv: "arw key generate --out $W/acme"},
		{what: "another key", argv: "arw key generate --out $W/other"},
		{what: "cosign takes arw's key (`cosign import-key-pair`)", argv: "cosign import-key-pair --key $KEY --output-key-prefix $W/cosign --yes"},
		{what: "`arw pack push` to our registries: keyless", argv: push + "$R_KEYLESS"},
		{what: "… logged", argv: push + "$R_LOGGED"},
		{what: "… bare", argv: push + "$R_BARE"},
		{what: "… cosign-keyless", argv: push + "$R_COSIGN_KEYLESS"},
		{what: "… cosign-key", argv: push + "$R_COSIGN_KEY"},
		{what: "`arw pack push` to CNCF distribution v3", argv: push + "$DIST"},
		{what: "an unsigned pack is refused by arw", argv: test + "$R_KEYLESS" + policy + "identity.toml", fails: true, says: "code: unsigned"},
		{what: "an unsigned pack is refused by cosign", argv: cosignV + "$R_KEYLESS" + at + byIdentity, fails: true, says: "no signatures found"},

		{group: "arw signs keylessly (Fulcio, Rekor v2, RFC 3161)", what: "with a given token", argv: sign + "$R_KEYLESS" + keyless + token, says: who},
		{what: "cosign verifies", argv: cosignV + "$R_KEYLESS" + at + byIdentity, says: "The code-signing certificate was verified"},
		{what: "cosign refuses another identity", argv: cosignV + "$R_KEYLESS" + at + byOther, fails: true, says: "eve@acme.example"},
		{what: "cosign refuses another issuer", argv: cosignV + "$R_KEYLESS" + at + byIssuer, fails: true, says: "token.example"},
		{what: "cosign refuses it as a key's", argv: cosignV + "$R_KEYLESS" + at + " --key $PUB", fails: true, says: "expected key signature, not certificate"},
		{what: "arw verifies", argv: test + "$R_KEYLESS" + policy + "identity.toml", says: "trusted"},
		{what: "arw refuses another identity", argv: test + "$R_KEYLESS" + policy + "other-identity.toml", fails: true, says: "unknown_identity"},
		{what: "arw refuses another issuer", argv: test + "$R_KEYLESS" + policy + "other-issuer.toml", fails: true, says: "unknown_identity"},
		{what: "arw installs", argv: "install $R_KEYLESS $W/identity.toml", says: "admitted"},

		{group: "arw publishes and signs at once", what: "`arw pack push --keyless`: release, provenance, SBOM", argv: push + "$R_PUSHED" + keyless + token, says: who},
		{what: "cosign verifies the release", argv: cosignV + "$R_PUSHED" + at + byIdentity, says: "The code-signing certificate was verified"},
		{what: "cosign verifies the build's provenance", argv: cosignVA + "--type slsaprovenance1 $R_PUSHED" + at + byIdentity, says: "The code-signing certificate was verified"},
		{what: "cosign verifies the build's SBOM", argv: cosignVA + "--type cyclonedx $R_PUSHED" + at + byIdentity, says: "The code-signing certificate was verified"},
		{what: "arw verifies all three", argv: test + "$R_PUSHED" + policy + "built.toml", says: sbom},

		{group: "arw's other ways to an identity", what: "browser flow (loopback redirect, PKCE)", argv: sign + "$R_BARE" + keyless + " --oidc-flow browser",
			env: "BROWSER=$W/browser", says: "browser@acme.example"},
		{what: "device flow", argv: sign + "$R_BARE" + keyless + " --oidc-flow device", says: "device@acme.example"},
		{what: "ambient token, as in GitLab CI", argv: sign + "$R_BARE" + keyless + " --oidc-flow ambient", env: "SIGSTORE_ID_TOKEN=$RAWTOKEN", says: who},
		{what: "ambient token, as in GitHub Actions", argv: sign + "$R_BARE" + keyless + " --oidc-flow ambient",
			env: "ENV ACTIONS_ID_TOKEN_REQUEST_URL=http://localhost:8888/request?v=1 ACTIONS_ID_TOKEN_REQUEST_TOKEN=job-secret", says: who},

		{group: "arw signs by key, logged and timestamped", what: "`--key` with `--signing-config`", argv: sign + "$R_LOGGED --key $KEY" + services},
		{what: "cosign verifies", argv: cosignV + "$R_LOGGED" + at + " --key $PUB", says: "The signatures were verified against the specified public key"},
		{what: "cosign refuses another key", argv: cosignV + "$R_LOGGED" + at + " --key $OTHER", fails: true, says: "no matching attestations"},
		{what: "arw verifies, log entry and timestamp demanded", argv: test + "$R_LOGGED" + policy + "key.toml", says: "logged"},
		{what: "arw refuses another key", argv: test + "$R_LOGGED" + policy + "other-key.toml", fails: true, says: "unknown_key"},

		{group: "arw signs by a bare key, offline", what: "`--key` alone", argv: sign + "$R_BARE --key $KEY"},
		{what: "cosign verifies with `--insecure-ignore-tlog`", argv: cosignV + "$R_BARE" + at + " --key $PUB --insecure-ignore-tlog", says: "verified against the specified public key"},
		{what: "cosign refuses it where a log entry is demanded", argv: cosignV + "$R_BARE" + at + " --key $PUB", fails: true, says: "log"},
		{what: "arw verifies with `tlog = 0`", argv: test + "$R_BARE" + policy + "bare.toml", says: "trusted"},
		{what: "arw refuses it where a log entry is demanded", argv: test + "$R_BARE" + policy + "key.toml", fails: true, says: "tlog"},

		{group: "Attestations by arw", what: "SLSA provenance", argv: sign + "$R_KEYLESS" + keyless + token + " --predicate $W/slsa.json --predicate-type https://slsa.dev/provenance/v1"},
		{what: "arw refuses while the SBOM is missing", argv: test + "$R_KEYLESS" + policy + "attested.toml", fails: true, says: sbom},
		{what: "CycloneDX SBOM", argv: sign + "$R_KEYLESS" + keyless + token + " --predicate $W/sbom.json --predicate-type " + sbom},
		{what: "cosign verifies the provenance", argv: cosignVA + "--type slsaprovenance1 $R_KEYLESS" + at + byIdentity, says: "The code-signing certificate was verified"},
		{what: "cosign verifies the SBOM", argv: cosignVA + "--type cyclonedx $R_KEYLESS" + at + byIdentity, says: "The code-signing certificate was verified"},
		{what: "cosign refuses them as SPDX", argv: cosignVA + "--type spdxjson $R_KEYLESS" + at + byIdentity, fails: true, says: "none of the attestations matched the predicate type"},
		{what: "arw verifies signature, provenance and SBOM", argv: test + "$R_KEYLESS" + policy + "attested.toml", says: "built by"},
		{what: "arw refuses another builder", argv: test + "$R_KEYLESS" + policy + "other-builder.toml", fails: true, says: "builder"},

		{group: "cosign signs keylessly", what: "`cosign sign`", argv: "cosign sign --yes --allow-http-registry --identity-token $TOKEN" + services + " $R_COSIGN_KEYLESS" + at},
		{what: "arw verifies", argv: test + "$R_COSIGN_KEYLESS" + policy + "identity.toml", says: "trusted"},
		{what: "arw refuses another identity", argv: test + "$R_COSIGN_KEYLESS" + policy + "other-identity.toml", fails: true, says: "unknown_identity"},
		{what: "arw installs", argv: "install $R_COSIGN_KEYLESS $W/identity.toml", says: "admitted"},
		{what: "arw does not install for another identity", argv: "install $R_COSIGN_KEYLESS $W/other-identity.toml", fails: true, says: "untrusted"},
		{what: "`cosign attest` provenance", argv: "cosign attest --yes --allow-http-registry --identity-token $TOKEN" + services + " --type slsaprovenance1 --predicate $W/slsa.json $R_COSIGN_KEYLESS" + at},
		{what: "arw refuses it for another builder", argv: test + "$R_COSIGN_KEYLESS" + policy + "other-builder.toml", fails: true, says: "builder"},

		{group: "cosign signs by key", what: "`cosign sign --key`", argv: "cosign sign --yes --allow-http-registry --key $CKEY" + services + " $R_COSIGN_KEY" + at},
		{what: "arw verifies", argv: test + "$R_COSIGN_KEY" + policy + "key.toml", says: "trusted"},
		{what: "arw refuses another key", argv: test + "$R_COSIGN_KEY" + policy + "other-key.toml", fails: true, says: "unknown_key"},
		{what: "arw installs", argv: "install $R_COSIGN_KEY $W/key.toml", says: "admitted"},

		{group: "A registry without the referrers API (CNCF distribution v3)", what: "arw signs keylessly, under the fallback tag", argv: sign + "$DIST" + keyless + token},
		{what: "cosign verifies", argv: cosignV + "$DIST" + at + byIdentity, says: "The code-signing certificate was verified"},
		{what: "cosign signs by key beside it", argv: "cosign sign --yes --allow-http-registry --key $CKEY" + services + " $DIST" + at},
		{what: "arw verifies its own", argv: test + "$DIST" + policy + "identity.toml", says: "trusted"},
		{what: "arw verifies cosign's", argv: test + "$DIST" + policy + "key.toml", says: "trusted"},
		{what: "arw refuses others", argv: test + "$DIST" + policy + "other-key.toml", fails: true, says: "unknown_key"},
		{what: "arw installs", argv: "install $DIST $W/identity.toml", says: "admitted"},

		{group: "OCI layout, as for an air gap", what: "`cosign save` of what arw signed", argv: "cosign save --allow-http-registry --dir $W/saved/$REF $R_LOGGED" + at},
		{what: "cosign verifies the layout", argv: "cosign verify --local-image --trusted-root $TR --key $PUB $W/saved/$REF", says: "verified"},
		{what: "arw verifies the same layout", argv: "arw trust test $REF@$DIGEST --registry dir:$W/saved" + policy + "key.toml", says: "trusted"},
		{what: "arw refuses another key there", argv: "arw trust test $REF@$DIGEST --registry dir:$W/saved" + policy + "other-key.toml", fails: true, says: "unknown_key"},

		{group: "Any file", what: "`cosign sign-blob`, keyless", argv: "cosign sign-blob --yes --identity-token $TOKEN" + services + " --bundle $W/blob-keyless.json $W/blob.txt"},
		{what: "`cosign sign-blob --key`", argv: "cosign sign-blob --yes --key $CKEY" + services + " --bundle $W/blob-key.json $W/blob.txt"},
		{what: "`arw verify` by identity", argv: "arw verify $W/blob.txt --bundle $W/blob-keyless.json --trusted-root $TR --identity " + who + " --issuer " + issuer, says: "verified"},
		{what: "`arw verify` by key", argv: "arw verify $W/blob.txt --bundle $W/blob-key.json --trusted-root $TR --key $PUB", says: "verified"},
		{what: "`arw verify` refuses another identity", argv: "arw verify $W/blob.txt --bundle $W/blob-keyless.json --trusted-root $TR --identity eve@acme.example --issuer " + issuer, fails: true, says: "unknown_identity"},
		{what: "… another issuer", argv: "arw verify $W/blob.txt --bundle $W/blob-keyless.json --trusted-root $TR --identity " + who + " --issuer https://token.example", fails: true, says: "unknown_identity"},
		{what: "… another key", argv: "arw verify $W/blob.txt --bundle $W/blob-key.json --trusted-root $TR --key $OTHER", fails: true, says: "unknown_key"},
		{what: "… a tampered file", argv: "arw verify $W/tampered.txt --bundle $W/blob-keyless.json --trusted-root $TR --identity " + who + " --issuer " + issuer, fails: true, says: "subject"},
		{what: "… a key's bundle for an identity", argv: "arw verify $W/blob.txt --bundle $W/blob-key.json --trusted-root $TR --identity " + who + " --issuer " + issuer, fails: true, says: "unknown_key"},
	}
}
