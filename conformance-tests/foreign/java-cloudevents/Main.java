import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.cloudevents.CloudEvent;
import io.cloudevents.CloudEventData;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.http.HttpMessageFactory;
import io.cloudevents.jackson.JsonCloudEventData;
import io.cloudevents.jackson.JsonFormat;
import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.OffsetDateTime;
import java.util.Base64;
import java.util.HashSet;
import java.util.function.Predicate;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** The CloudEvents SDK for Java over HTTP, with the HTTP client of the JDK. */
public final class Main {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static HttpClient client = HttpClient.newHttpClient();
    private static String trusted = "";

    // snippet: java-cloudevents
    static HttpResponse<String> publish(String gateway, String topic, CloudEvent event, boolean structured)
            throws Exception {
        var request = HttpRequest.newBuilder(URI.create(gateway + "/v1/topics/" + topic + "/events"));
        // An event without data has a null body.
        var writer = HttpMessageFactory.createWriter(request::header, body -> request.POST(
                body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofByteArray(body)));
        if (structured) {
            writer.writeStructured(event, new JsonFormat());
        } else {
            writer.writeBinary(event);
        }
        return client.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }
    // snippet end

    // snippet: java-cloudevents-receive
    static void receive(String gateway, String topic, Predicate<CloudEvent> each) throws Exception {
        var url = URI.create(gateway + "/v1/topics/" + topic + "/events?start=earliest");
        var request = HttpRequest.newBuilder(url).header("accept", "application/x-ndjson").build();
        var format = new JsonFormat();
        try (var lines = client.send(request, HttpResponse.BodyHandlers.ofLines()).body()) {
            // An empty line only says that the gateway is there.
            for (String line : (Iterable<String>) lines.filter(line -> !line.isEmpty())::iterator) {
                JsonNode event = JSON.readTree(line).get("event");
                if (event == null) {
                    throw new IllegalStateException("it ended: " + line);
                }
                if (!each.test(format.deserialize(JSON.writeValueAsBytes(event)))) {
                    return;
                }
            }
        }
    }
    // snippet end

    static ObjectNode plain(CloudEvent event) {
        ObjectNode plain = JSON.createObjectNode();
        ObjectNode attributes = plain.putObject("attributes");
        var names = new HashSet<>(event.getAttributeNames());
        names.remove("specversion");
        for (String name : names) {
            Object value = event.getAttribute(name);
            if (value != null) {
                attributes.put(name, value.toString());
            }
        }
        ObjectNode types = plain.putObject("types");
        if (event.getDataSchema() != null) {
            types.put("dataschema", "uri");
        }
        for (String name : event.getExtensionNames()) {
            Object value = event.getExtension(name);
            attributes.set(name, JSON.valueToTree(value));
            if (value instanceof byte[]) {
                types.put(name, "binary");
            }
        }
        CloudEventData data = event.getData();
        if (data != null) {
            plain.putObject("data").put("base64", Base64.getEncoder().encodeToString(data.toBytes()));
        }
        return plain;
    }

    static ObjectNode received(JsonNode task) throws Exception {
        ObjectNode answer = JSON.createObjectNode();
        ArrayNode events = answer.putArray("events");
        if (task.get("mode").asText().startsWith("ws-")) {
            try (var socket = new Socket(client, task.get("gateway").asText(), task.get("topic").asText(), "earliest")) {
                while (events.size() < task.get("count").asInt()) {
                    var next = socket.next();
                    if (next.event() == null) {
                        throw new IllegalStateException("it ended: " + next.end());
                    }
                    events.add(plain(next.event()));
                }
            }
            return answer;
        }
        receive(task.get("gateway").asText(), task.get("topic").asText(), event -> {
            events.add(plain(event));
            return events.size() < task.get("count").asInt();
        });
        return answer;
    }

    /** An event is kept when it comes back. */
    static ObjectNode publishedOverWebSocket(JsonNode task) throws Exception {
        ObjectNode answer = JSON.createObjectNode();
        ArrayNode results = answer.putArray("results");
        try (var socket = new Socket(client, task.get("gateway").asText(), task.get("topic").asText(), "latest")) {
            for (JsonNode plain : task.get("events")) {
                socket.send(event(plain, "proto"));
                var back = socket.next();
                if (back.event() == null) {
                    results.addObject().put("ok", false).put("code", back.end().split(":")[0]).put("detail", back.end());
                    break;
                }
                results.addObject().put("ok", true);
            }
        }
        return answer;
    }

    static CloudEvent event(JsonNode plain, String mode) throws Exception {
        boolean structured = mode.equals("structured");
        CloudEventBuilder builder = CloudEventBuilder.v1();
        for (var attribute : plain.get("attributes").properties()) {
            String name = attribute.getKey();
            JsonNode value = attribute.getValue();
            String text = mode.equals("binary") ? encoded(value.asText()) : value.asText();
            boolean bytes = mode.equals("proto") && plain.path("types").path(name).asText().equals("binary");
            switch (name) {
                case "id" -> builder.withId(text);
                case "source" -> builder.withSource(URI.create(text));
                case "type" -> builder.withType(text);
                case "subject" -> builder.withSubject(text);
                case "time" -> builder.withTime(OffsetDateTime.parse(text));
                case "datacontenttype" -> builder.withDataContentType(value.asText());
                case "dataschema" -> builder.withDataSchema(URI.create(text));
                default -> {
                    if (value.isBoolean()) {
                        builder.withExtension(name, value.asBoolean());
                    } else if (bytes) {
                        builder.withExtension(name, Base64.getDecoder().decode(text));
                    } else if (value.isInt()) {
                        builder.withExtension(name, value.asInt());
                    } else {
                        builder.withExtension(name, text);
                    }
                }
            }
        }
        JsonNode data = plain.get("data");
        if (data.has("base64")) {
            builder.withData(Base64.getDecoder().decode(data.get("base64").asText()));
        } else if (data.has("json") && structured) {
            builder.withData(JsonCloudEventData.wrap(JSON.readTree(data.get("json").asText())));
        } else if (data.has("json")) {
            builder.withData(data.get("json").asText().getBytes(StandardCharsets.UTF_8));
        } else if (data.has("text")) {
            builder.withData(data.get("text").asText().getBytes(StandardCharsets.UTF_8));
        }
        return builder.build();
    }

    /** The SDK leaves the percent-encoding of the HTTP binding to its user. */
    static String encoded(String value) {
        var out = new StringBuilder();
        for (byte b : value.getBytes(StandardCharsets.UTF_8)) {
            if (b <= ' ' || b > '~' || b == '"' || b == '%') {
                out.append(String.format("%%%02X", b & 0xff));
            } else {
                out.append((char) b);
            }
        }
        return out.toString();
    }

    /** Whom to trust inside TLS: a file in PEM. */
    static HttpClient trusting(String file) throws Exception {
        var authorities = KeyStore.getInstance(KeyStore.getDefaultType());
        authorities.load(null, null);
        try (var bytes = new FileInputStream(file)) {
            authorities.setCertificateEntry("gateway", CertificateFactory.getInstance("X.509").generateCertificate(bytes));
        }
        var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(authorities);
        var context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return HttpClient.newBuilder().sslContext(context).build();
    }

    static ObjectNode carryOut(JsonNode task) throws Exception {
        String authority = task.get("ca").asText("");
        if (!authority.isEmpty() && !authority.equals(trusted)) {
            client = trusting(authority);
            trusted = authority;
        }
        if (task.get("do").asText().equals("receive")) {
            return received(task);
        }
        String mode = task.get("mode").asText();
        if (mode.startsWith("ws-")) {
            return publishedOverWebSocket(task);
        }
        ObjectNode answer = JSON.createObjectNode();
        ArrayNode results = answer.putArray("results");
        for (JsonNode plain : task.get("events")) {
            boolean structured = mode.equals("structured");
            var response =
                    publish(task.get("gateway").asText(), task.get("topic").asText(), event(plain, mode), structured);
            JsonNode said = JSON.readTree(response.body());
            ObjectNode result = results.addObject().put("ok", response.statusCode() == 200);
            result.set("code", said.get("code"));
            result.set("detail", said.get("detail"));
        }
        return answer;
    }

    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            ObjectNode answer;
            try {
                answer = carryOut(JSON.readTree(line));
            } catch (Exception error) {
                answer = JSON.createObjectNode().put("error", error.toString());
            }
            System.out.println(JSON.writeValueAsString(answer));
        }
    }
}
