// Gets, refreshes, introspects and revokes tokens of the sandbox at $SANDBOX with Autodesk's own SDK, unmodified, and prints what it saw.
import authentication from "@aps_sdk/authentication";
import sdk from "@aps_sdk/autodesk-sdkmanager";

const { AuthenticationClient, Scopes, TokenTypeHint } = authentication;
const configuration = new sdk.ApsConfiguration({});
configuration.BaseAddress = new URL(process.env.SANDBOX);
const client = new AuthenticationClient({ sdkManager: sdk.SdkManagerBuilder.create().addApsConfiguration(configuration).build() });
const secret = { clientSecret: "sandbox" };

const twoLegged = await client.getTwoLeggedToken("sandbox", "sandbox", [Scopes.DataRead]);
const refreshed = await client.refreshToken(process.env.REFRESH, "sandbox", secret);
const again = await client.refreshToken(process.env.REFRESH, "sandbox", secret).catch((error) => error.axiosError?.response?.status ?? String(error));
const before = await client.introspectToken(refreshed.refresh_token, "sandbox", secret);
await client.revoke(refreshed.refresh_token, "sandbox", TokenTypeHint.RefreshToken, secret);
const after = await client.introspectToken(refreshed.refresh_token, "sandbox", secret);
console.log(JSON.stringify({
  two_legged: twoLegged.access_token,
  refreshed: refreshed.refresh_token,
  again,
  active_before: before.active,
  active_after: after.active,
}));
