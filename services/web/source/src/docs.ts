/** The reference of the HTTP API at `/docs`: Swagger UI over the server's OpenAPI document. */
import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle";
import "swagger-ui-dist/swagger-ui.css";

// without `validatorUrl: null` Swagger UI would send the document to a server of its own
SwaggerUI({ url: "openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null });
