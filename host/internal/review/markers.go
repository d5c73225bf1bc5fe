package review

import (
	"bytes"
	"slices"
)

// markers are what a text that only informs does not need, by the name that policies and people see. Letters are compared
// without their case.
func markers() map[string][]string {
	return map[string][]string{
		"script":      {"<script", "javascript:", "onerror=", "onload=", "<svg"},
		"form":        {"<form", "<input"},
		"embed":       {"<iframe", "<object", "<embed", "data:text/html"},
		"html":        {"<!doctype html", "<html", "<meta http-equiv"},
		"instruction": {"ignore previous instructions", "ignore all previous", "disregard previous", "disregard the above", "you are now ", "<|im_start|>", "[inst]"},
	}
}

// Markers names what in texts looks meant to act and not to inform: active markup, forms, and instructions to a model.
func Markers(texts ...[]byte) []string {
	var found []string
	for name, words := range markers() {
		for _, text := range texts {
			lower := bytes.ToLower(text)
			if slices.ContainsFunc(words, func(w string) bool { return bytes.Contains(lower, []byte(w)) }) {
				found = append(found, name)
				break
			}
		}
	}
	slices.Sort(found)
	return found
}
