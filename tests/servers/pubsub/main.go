// A Pub/Sub in memory for tests: pstest, with the rules of the real service that it leaves out.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const maxBytes = 10_000_000 // of a message, and of a request

const stumbles = "stumbles" // a message whose first acknowledgement fails for a while, with exactly-once delivery

type rules struct {
	fake     *pstest.Server
	token    string
	stumbled sync.Map // the acknowledgement ids that did
}

func (r *rules) intercept(
	ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (any, error) {
	if r.token != "" {
		if err := r.authenticate(ctx); err != nil {
			return nil, err
		}
	}
	switch typed := request.(type) {
	case *pb.PublishRequest:
		if err := checkPublish(typed); err != nil {
			return nil, err
		}
	case *pb.AcknowledgeRequest:
		return r.settle(ctx, typed.Subscription, &typed.AckIds, request, handle)
	case *pb.ModifyAckDeadlineRequest:
		return r.settle(ctx, typed.Subscription, &typed.AckIds, request, handle)
	}
	return handle(ctx, request)
}

func (r *rules) authenticate(ctx context.Context) error {
	headers, _ := metadata.FromIncomingContext(ctx)
	if given := headers.Get("authorization"); len(given) == 0 || given[0] != "Bearer "+r.token {
		return status.Error(codes.Unauthenticated, "Request had invalid authentication credentials.")
	}
	return nil
}

func checkPublish(request *pb.PublishRequest) error {
	if len(request.Messages) > 1000 {
		return status.Error(codes.InvalidArgument, "The request has more than 1000 messages.")
	}
	if proto.Size(request) > maxBytes {
		return status.Error(codes.InvalidArgument, "The request is larger than 10000000 bytes.")
	}
	for _, message := range request.Messages {
		if len(message.Data) == 0 && len(message.Attributes) == 0 {
			return status.Error(codes.InvalidArgument, "Some messages have neither data nor attributes.")
		}
		if len(message.Attributes) > 100 || len(message.OrderingKey) > 1024 {
			return status.Error(codes.InvalidArgument, "Too many attributes, or too long an ordering key.")
		}
		for name, value := range message.Attributes {
			if name == "" || len(name) > 256 || len(value) > 1024 || strings.HasPrefix(name, "goog") {
				return status.Error(codes.InvalidArgument, "An attribute's name or value is not allowed.")
			}
		}
	}
	return nil
}

// settle tells, on a subscription with exactly-once delivery, which acknowledgements were not for the last delivery.
func (r *rules) settle(
	ctx context.Context, subscription string, ids *[]string, request any, handle grpc.UnaryHandler,
) (any, error) {
	found, err := r.fake.GServer.GetSubscription(ctx, &pb.GetSubscriptionRequest{Subscription: subscription})
	if err != nil || !found.EnableExactlyOnceDelivery {
		return handle(ctx, request)
	}
	failed, carried := map[string]string{}, []string{}
	for _, id := range *ids {
		number, delivery, _ := strings.Cut(id, ":")
		message := r.fake.Message(number)
		if message == nil || message.Acks > 0 || fmt.Sprint(message.Deliveries) != delivery {
			failed[id] = "PERMANENT_FAILURE_INVALID_ACK_ID"
		} else if _, again := r.stumbled.LoadOrStore(id, true); string(message.Data) == stumbles && !again {
			failed[id] = "TRANSIENT_FAILURE_SERVICE_UNAVAILABLE"
			continue
		}
		carried = append(carried, id)
	}
	*ids = carried
	answer, err := handle(ctx, request)
	if err != nil || len(failed) == 0 {
		return answer, err
	}
	refusal, err := status.New(codes.InvalidArgument, "Some acknowledgement ids were invalid.").WithDetails(
		&errdetails.ErrorInfo{Reason: "EXACTLY_ONCE_ACKID_FAILURE", Domain: "pubsub.googleapis.com", Metadata: failed})
	if err != nil {
		return nil, err
	}
	return nil, refusal.Err()
}

// count tells of a topic how many messages were published, and how many no subscription has acknowledged.
func (r *rules) count(answer http.ResponseWriter, request *http.Request) {
	published, waiting := 0, 0
	for _, message := range r.fake.Messages() {
		if message.Topic == request.URL.Path[1:] {
			published++
			if message.Acks == 0 {
				waiting++
			}
		}
	}
	fmt.Fprintf(answer, "%d %d", published, waiting)
}

func main() {
	port := flag.Int("port", 0, "where to listen, on 127.0.0.1")
	certificate := flag.String("cert", "", "file of a certificate: TLS")
	key := flag.String("key", "", "file of its key")
	token := flag.String("token", "", "the access token that calls must have")
	counts := flag.Int("counts", 0, "a port that tells by HTTP how much is in a topic")
	flag.Parse()

	fake := pstest.NewServer() // it listens on a port of its own as well, which is not used
	checks := &rules{fake: fake, token: *token}
	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(2 * maxBytes), grpc.UnaryInterceptor(checks.intercept)}
	if *certificate != "" {
		loaded, err := credentials.NewServerTLSFromFile(*certificate, *key)
		if err != nil {
			log.Fatal(err)
		}
		options = append(options, grpc.Creds(loaded))
	}
	if *counts != 0 {
		go func() {
			log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", *counts), http.HandlerFunc(checks.count)))
		}()
	}
	server := grpc.NewServer(options...)
	pb.RegisterPublisherServer(server, &fake.GServer)
	pb.RegisterSubscriberServer(server, &fake.GServer)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(server.Serve(listener))
}
