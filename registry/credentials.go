package registry

import (
	"context"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/arw-project/arw/abi"
)

// Credentials say who is asking. The zero value is nobody. What is given directly comes before the file.
type Credentials struct {
	// Token is sent as a bearer token, or as the password where the registry asks for one.
	Token string
	// Username and Password are for basic authentication and for token services that want them.
	Username, Password string
	// DockerConfig is the path of a Docker config.json: its auths, credsStore and credHelpers are used as Docker does. A
	// file that is not there is an empty one. The bare host is looked up first, then its URLs, which older files hold.
	DockerConfig string
}

// lookup gives the function that finds the credentials for a host when it asks for them.
func (c Credentials) lookup(host string) (auth.CredentialFunc, error) {
	switch {
	case c.Token != "":
		return auth.StaticCredential(host, auth.Credential{AccessToken: c.Token, Username: "token", Password: c.Token}), nil
	case c.Username != "":
		return auth.StaticCredential(host, auth.Credential{Username: c.Username, Password: c.Password}), nil
	case c.DockerConfig == "":
		return nil, nil
	}
	store, err := credentials.NewStore(c.DockerConfig, credentials.StoreOptions{})
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read credentials %q: %w", c.DockerConfig, err).
			WithHint("mend the file, or log in to the registry again")
	}
	return func(ctx context.Context, host string) (auth.Credential, error) {
		for _, key := range credentialKeys(host) {
			cred, err := store.Get(ctx, key)
			if err != nil {
				return auth.EmptyCredential, abi.Errorf(abi.Unauthenticated, "ask the credential helper for %q: %w", key, err).
					WithHint("check credsStore and credHelpers in %s", c.DockerConfig)
			}
			if cred != auth.EmptyCredential {
				return cred, nil
			}
		}
		return auth.EmptyCredential, nil
	}, nil
}

// credentialKeys are the names a host's credentials may be filed under.
func credentialKeys(host string) []string {
	bare := credentials.ServerAddressFromHostname(host)
	return []string{bare, "https://" + host, "https://" + host + "/", "https://" + host + "/v2/", "https://" + host + "/v1/"}
}
