import io.cloudevents.CloudEvent;
import io.cloudevents.protobuf.ProtobufFormat;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Protobuf over the WebSocket client of the JDK. */
final class Socket implements WebSocket.Listener, AutoCloseable {
    /** An event that came, or why there are no more. */
    record Came(CloudEvent event, String end) {}

    private final BlockingQueue<Came> came = new LinkedBlockingQueue<>();
    private final ByteArrayOutputStream message = new ByteArrayOutputStream();
    private final WebSocket socket;

    // snippet: java-cloudevents-websocket
    // A message is an event. There are no answers: a refusal closes the connection, with 4000 + our code's number and a reason that
    // begins with the code.
    Socket(HttpClient client, String gateway, String topic, String start) {
        var url = URI.create(gateway.replaceFirst("http", "ws") + "/v1/topics/" + topic + "/events?start=" + start);
        socket = client.newWebSocketBuilder().subprotocols("cloudevents.proto").buildAsync(url, this).join();
    }

    void send(CloudEvent event) {
        socket.sendBinary(ByteBuffer.wrap(new ProtobufFormat().serialize(event)), true).join();
    }

    @Override
    public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer part, boolean last) {
        var bytes = new byte[part.remaining()];
        part.get(bytes);
        message.writeBytes(bytes);
        if (last) {
            came.add(new Came(new ProtobufFormat().deserialize(message.toByteArray()), null));
            message.reset();
        }
        socket.request(1);
        return null;
    }
    // snippet end

    @Override
    public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
        came.add(new Came(null, reason));
        return null;
    }

    @Override
    public void onError(WebSocket socket, Throwable error) {
        came.add(new Came(null, error.toString()));
    }

    Came next() throws InterruptedException {
        Came next = came.poll(20, TimeUnit.SECONDS);
        return next == null ? new Came(null, "nothing came") : next;
    }

    @Override
    public void close() {
        socket.abort();
    }
}
