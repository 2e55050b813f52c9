package deltafan.bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import deltafan.bench.Contents.Content;
import java.io.IOException;

/** A row of `engagement_events`, read from Debezium's envelope in one pass and written as the webhook's JSON. */
final class Event {
  static final JsonFactory JSON = new JsonFactory();

  long id;
  String contentId;
  String userId;
  String type;
  String at;
  int durationMs;
  String device;
  String payload;

  /** The row after the change; null for a deletion. */
  static Event read(byte[] value) throws IOException {
    try (var parser = JSON.createParser(value)) {
      parser.nextToken();
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        var name = parser.currentName();
        if (parser.nextToken() == JsonToken.START_OBJECT) {
          if (name.equals("after")) {
            return row(parser);
          }
          // The message, where the converter puts its schema beside it: the next name is in it.
          if (name.equals("payload")) {
            continue;
          }
        }
        parser.skipChildren();
      }
    }
    return null;
  }

  private static Event row(JsonParser parser) throws IOException {
    var event = new Event();
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      var name = parser.currentName();
      parser.nextToken();
      switch (name) {
        case "id" -> event.id = parser.getLongValue();
        case "content_id" -> event.contentId = parser.getValueAsString();
        case "user_id" -> event.userId = parser.getValueAsString();
        case "event_type" -> event.type = parser.getValueAsString();
        case "event_ts" -> event.at = parser.getValueAsString();
        case "duration_ms" -> event.durationMs = parser.getValueAsInt();
        case "device" -> event.device = parser.getValueAsString();
        case "raw_payload" -> event.payload = parser.getValueAsString();
        default -> parser.skipChildren();
      }
    }
    return event;
  }

  void write(JsonGenerator json, Content content) throws IOException {
    json.writeStartObject();
    json.writeNumberField("id", id);
    json.writeStringField("content_id", contentId);
    json.writeStringField("user_id", userId);
    json.writeStringField("event_type", type);
    json.writeStringField("event_ts", at);
    json.writeNumberField("duration_ms", durationMs);
    json.writeStringField("device", device);
    json.writeStringField("raw_payload", payload);
    if (content != null) {
      json.writeStringField("content_type", content.type());
      json.writeStringField("content_title", content.title());
      if (content.lengthSeconds() != null) {
        json.writeNumberField("length_seconds", content.lengthSeconds());
        json.writeNumberField("engagement_pct", durationMs / 1000.0 / content.lengthSeconds());
      }
    }
    json.writeNumberField("engagement_seconds", durationMs / 1000.0);
    json.writeEndObject();
  }
}
