// go-spiffe for `cargo interop`: as a client of the Workload API, and as a peer that judges
// certificates.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// config says who the peer is, whom it trusts and whom it calls.
type config struct {
	Certificates string            `json:"certificates"`
	Key          string            `json:"key"`
	Bundles      map[string]string `json:"bundles"`
	Expected     string            `json:"expected"`
	Hostile      string            `json:"hostile"`
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: peer CONFIG | fetch SOCKET CALLEE EXPECTED")
	}
	var err error
	switch os.Args[1] {
	case "peer":
		err = peer(os.Args[2])
	case "fetch":
		err = fetch(os.Args[2], os.Args[3], os.Args[4])
	default:
		err = fmt.Errorf("no command %q", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}

// peer serves mutual TLS, and dials the hostile address whenever it is asked to over plain HTTP.
func peer(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var config config
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	svid, err := x509svid.Parse([]byte(config.Certificates), []byte(config.Key))
	if err != nil {
		return err
	}
	bundles := x509bundle.NewSet()
	for name, pem := range config.Bundles {
		domain, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return err
		}
		bundle, err := x509bundle.Parse(domain, []byte(pem))
		if err != nil {
			return err
		}
		bundles.Add(bundle)
	}
	expected, err := spiffeid.FromString(config.Expected)
	if err != nil {
		return err
	}
	server := tlsconfig.MTLSServerConfig(svid, bundles, tlsconfig.AuthorizeAny())
	accepts, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		return err
	}
	dials, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	client := tlsconfig.MTLSClientConfig(svid, bundles, tlsconfig.AuthorizeID(expected))
	transport := &http.Transport{TLSClientConfig: client, DisableKeepAlives: true}
	caller := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	fmt.Printf("{\"accepts\":%q,\"dials\":%q}\n", accepts.Addr(), dials.Addr())
	quiet := log.New(io.Discard, "", 0)
	welcome := http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(answer, "let in")
	})
	dial := http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		response, err := caller.Get("https://" + config.Hostile + "/")
		if err != nil {
			http.Error(answer, err.Error(), http.StatusBadGateway)
			return
		}
		response.Body.Close()
		answer.WriteHeader(response.StatusCode)
	})
	go func() {
		log.Fatal((&http.Server{Handler: welcome, ErrorLog: quiet}).Serve(accepts))
	}()
	return (&http.Server{Handler: dial, ErrorLog: quiet}).Serve(dials)
}

// fetch takes an SVID from the Workload API and makes a call with it.
func fetch(socket, callee, expected string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	address := workloadapi.WithClientOptions(workloadapi.WithAddr("unix://" + socket))
	source, err := workloadapi.NewX509Source(ctx, address)
	if err != nil {
		return fmt.Errorf("workload api: %w", err)
	}
	defer source.Close()
	svid, err := source.GetX509SVID()
	if err != nil {
		return err
	}
	fmt.Printf("SVID %s, %d certificate(s), ends %s\n", svid.ID, len(svid.Certificates),
		svid.Certificates[0].NotAfter.UTC().Format(time.RFC3339))
	id, err := spiffeid.FromString(expected)
	if err != nil {
		return err
	}
	call := func(authorizer tlsconfig.Authorizer, path string) (string, error) {
		config := tlsconfig.MTLSClientConfig(source, source, authorizer)
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		response, err := (&http.Client{Transport: transport}).Get("https://" + callee + path)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		return fmt.Sprintf("%s %s", response.Proto, response.Status), nil
	}
	allowed, err := call(tlsconfig.AuthorizeID(id), "/v1/payments/p_1")
	if err != nil {
		return err
	}
	fmt.Println("allowed call:", allowed)
	denied, err := call(tlsconfig.AuthorizeID(id), "/v1/ledger")
	if err != nil {
		return err
	}
	fmt.Println("denied call:", denied)
	if _, err := call(tlsconfig.AuthorizeID(svid.ID), "/"); err == nil {
		return fmt.Errorf("a server of another identity was accepted")
	}
	fmt.Println("a server of another identity: refused by go-spiffe")
	return nil
}
