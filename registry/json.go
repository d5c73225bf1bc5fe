package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
)

// maxDepth is far more than any manifest needs.
const maxDepth = 32

// readDocument decodes a manifest and refuses what two readers could read in two ways.
func readDocument(raw []byte) (*document, error) {
	if err := checkJSON(raw); err != nil {
		return nil, abi.Errorf(abi.Invalid, "the manifest is not sound JSON: %w", err)
	}
	doc := &document{}
	if err := json.Unmarshal(raw, doc); err != nil {
		return nil, abi.Errorf(abi.Invalid, "the manifest does not read: %w", err)
	}
	if doc.SchemaVersion != 2 || doc.MediaType != mediaManifest {
		return nil, abi.Errorf(abi.Incompatible, "the manifest is %q of schema version %d, not an OCI image manifest", doc.MediaType, doc.SchemaVersion)
	}
	return doc, nil
}

// checkJSON refuses JSON that is not UTF-8, nests too deep, repeats a name within an object, or goes on after its value.
func checkJSON(raw []byte) error {
	if !utf8.Valid(raw) {
		return errors.New("it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := checkValue(dec, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

func checkValue(dec *json.Decoder, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	if depth >= maxDepth {
		return fmt.Errorf("it nests deeper than %d", maxDepth)
	}
	seen := map[string]bool{}
	for dec.More() {
		if open == '{' {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string)
			name = strings.ToLower(name) // encoding/json takes both for one
			if seen[name] {
				return fmt.Errorf("the name %q is there twice", name)
			}
			seen[name] = true
		}
		if err := checkValue(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}
