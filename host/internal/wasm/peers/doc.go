package peers

import (
	_ "github.com/arw-project/arw/host/internal/wasm"
	_ "github.com/extism/go-sdk"
	_ "github.com/hashicorp/go-hclog"
	_ "github.com/hashicorp/go-plugin"
	_ "google.golang.org/grpc"
	_ "google.golang.org/protobuf/types/known/wrapperspb"
)
