# Built in two steps: the compiler stays behind, the image carries the build and the packages it needs to run.
FROM node:26-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY providers providers
RUN npm run build && npm prune --omit=dev

FROM node:26-slim
WORKDIR /app
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8402 DATABASE_URL=sqlite:/data/faregate.db
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY bin bin
COPY package.json ./
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 8402
# The process drains on SIGTERM: it stops accepting, lets running replies end, delivers what is due, and closes the ledger.
# Replies get 25 s, so give it 40 to stop (docker stop -t 40): after Docker's usual 10 s it would be killed.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s CMD ["node", "-e", "fetch('http://127.0.0.1:'+process.env.PORT+'/healthz').then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
ENTRYPOINT ["node", "--max-semi-space-size=64", "bin/faregate.mjs"]
CMD ["start"]
