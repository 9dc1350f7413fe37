// Package cdevents holds what a tool of kind cloudevents is sent to the schemas that the
// CDEvents project publishes with its SDK. It owns nothing: all is in its test.
package cdevents
