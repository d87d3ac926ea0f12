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
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.Base64;
import java.util.HashSet;
import java.util.function.Predicate;

/** The CloudEvents SDK for Java over HTTP, with the HTTP client of the JDK. */
public final class Main {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    // snippet: java-cloudevents
    static HttpResponse<String> publish(String address, String topic, CloudEvent event, boolean structured)
            throws Exception {
        var request = HttpRequest.newBuilder(URI.create("http://" + address + "/v1/topics/" + topic + "/events"));
        // An event without data has a null body.
        var writer = HttpMessageFactory.createWriter(request::header, body -> request.POST(
                body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofByteArray(body)));
        if (structured) {
            writer.writeStructured(event, new JsonFormat());
        } else {
            writer.writeBinary(event);
        }
        return CLIENT.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }
    // snippet end

    // snippet: java-cloudevents-receive
    static void receive(String address, String topic, Predicate<CloudEvent> each) throws Exception {
        var url = URI.create("http://" + address + "/v1/topics/" + topic + "/events?start=earliest");
        var request = HttpRequest.newBuilder(url).header("accept", "application/x-ndjson").build();
        var format = new JsonFormat();
        try (var lines = CLIENT.send(request, HttpResponse.BodyHandlers.ofLines()).body()) {
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
        for (String name : event.getExtensionNames()) {
            attributes.set(name, JSON.valueToTree(event.getExtension(name)));
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
        receive(task.get("address").asText(), task.get("topic").asText(), event -> {
            events.add(plain(event));
            return events.size() < task.get("count").asInt();
        });
        return answer;
    }

    static CloudEvent event(JsonNode plain, boolean structured) throws Exception {
        CloudEventBuilder builder = CloudEventBuilder.v1();
        for (var attribute : plain.get("attributes").properties()) {
            String name = attribute.getKey();
            JsonNode value = attribute.getValue();
            String text = structured ? value.asText() : encoded(value.asText());
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

    static ObjectNode carryOut(JsonNode task) throws Exception {
        if (task.get("do").asText().equals("receive")) {
            return received(task);
        }
        boolean structured = task.get("mode").asText().equals("structured");
        ObjectNode answer = JSON.createObjectNode();
        ArrayNode results = answer.putArray("results");
        for (JsonNode plain : task.get("events")) {
            var event = event(plain, structured);
            var response = publish(task.get("address").asText(), task.get("topic").asText(), event, structured);
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
